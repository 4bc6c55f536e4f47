"""Engine: a program, and contexts to run it in, lent to one run each.

What is below a session: it knows programs, not models, options or how they are opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument, KernelError
from . import team as teams
from .arguments import Shapes, Signature
from .devices.cpu import Cpu
from .executable import Executable
from .executor import Context
from .memory import give_back, prefault
from .program import Program

if TYPE_CHECKING:
    from .devices.device import Device
    from .profile import RunProfile


class Engine:
    """A program ready to run; runs may be called from several threads at once.

    Its kernels are compiled where they are not cached, which shows its progress on a terminal. What
    would make the first run slower than the second is done as far as shapes are known.

    Parameters
    ----------
    program : Program
    threads : int
        Threads of a run.

    Attributes
    ----------
    program : Program
    threads : int
    signature : Signature
        The inputs.
    device : Device
        What the program runs on.
    idle : list of Context
        Contexts that no run uses. Lists change in one go under the GIL, so nothing is locked.

    Raises
    ------
    KernelError
        A kernel does not compile.
    """

    def __init__(self, program: Program, threads: int) -> None:
        self.program = program
        self.threads = threads
        self.signature = Signature(program.inputs)
        self.idle: list[Context] = []
        self.device = _device_of(program)
        self.device.load(program)
        self._executable = Executable(program, self.device)
        teams.enroll(self, threads)
        self._prefault()

    def _prefault(self) -> None:
        prefault(self.program.weights, writable=False)
        shapes = self.signature.static_shapes()
        if shapes is None:
            return
        # A run raises the error that its shapes or its memory cause.
        with suppress(InvalidArgument, KernelError), self.context(shapes) as context:
            context.binding.prefault()

    def run(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Run with an array for each input; returns an array for each output.

        Raises
        ------
        InvalidArgument
            An input is missing, unknown, or of the wrong type or shape.
        KernelError
            A step failed.
        """
        if not self._executable.is_plain:
            return self._run_checked(feeds)
        try:
            context = self.idle.pop()
        except IndexError:
            return self._run_checked(feeds)
        try:
            results = context.call(feeds)
        finally:
            self.idle.append(context)
        return self._run_checked(feeds) if results is None else results

    def _run_checked(self, feeds: Mapping[str, Any]) -> list[Any]:
        """Run with whatever is given, if it can be used."""
        feeds, places = self.device.inputs(feeds)
        arrays, shapes = self.signature.arrays(feeds)
        context = self._borrow(shapes)
        try:
            context.places = places
            return context.run(arrays)
        finally:
            self.idle.append(context)

    def run_bound(
        self,
        arrays: Sequence[Any],
        shapes: Shapes,
        places: Mapping[int, Any],
        targets: Mapping[int, Any],
        waits: bool,
    ) -> tuple[list[Any], Context]:
        """Run with arrays that are checked, and outputs that stay on the device.

        Parameters
        ----------
        arrays, shapes
            As the signature gives them.
        places : mapping
            Where inputs lie on the device, by the ``id`` of the arrays that stand for them.
        targets : mapping
            Outputs that stay on the device, by their numbers.
        waits : bool
            Whether the run is over when this returns.

        Returns
        -------
        outputs : list
        context : Context
            Whose `finish` waits.
        """
        context = self._borrow(shapes)
        try:
            return self.device.run(context, arrays, places, targets, waits), context
        finally:
            self.idle.append(context)

    def profile(self, feeds: Mapping[str, Any], runs: int, warmup: int) -> RunProfile:
        """Time every step over several runs."""
        from .profile import profile  # takes 1 ms, which few engines need

        feeds, places = self.device.inputs(feeds)
        arrays, shapes = self.signature.arrays(feeds)
        with self.context(shapes) as context:
            context.places = places
            return profile(context, arrays, runs, warmup)

    def trace(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run step by step; every value the program materialises, by its ONNX name."""
        feeds, places = self.device.inputs(feeds)
        arrays, shapes = self.signature.arrays(feeds)
        with self.context(shapes) as context:
            context.places = places
            return {
                self.program.tensors[index].name: value
                for index, value in context.trace(arrays)
                if self.program.tensors[index].name
            }

    def shrink(self) -> None:
        """Give back the working memory of idle contexts, and the threads of idle teams."""
        self.idle.clear()
        give_back()
        teams.stop_idle(self.threads)

    def own_context(self) -> Context:
        """Return a context that is the caller's, who binds it."""
        context: Context = self.device.context(self._executable, self.threads)
        return context

    @contextmanager
    def context(self, shapes: Shapes) -> Iterator[Context]:
        """Lend a context that is bound to shapes of the inputs."""
        context = self._borrow(shapes)
        try:
            yield context
        finally:
            self.idle.append(context)

    def _to_be_bound(self, context: Context) -> Context:
        """Return a context to be bound anew instead of one that was used last.

        Where bindings are dear, the last few stay as they are: then a new one, or the one that was
        not used for longest.
        """
        kept = self.device.kept_bindings
        if kept > 1:
            self.idle.append(context)
            if len(self.idle) < kept:
                return self.own_context()
            context = self.idle.pop(0)
        return context

    def _borrow(self, shapes: Shapes) -> Context:
        """Take a context bound to the shapes, preferably one that is bound to them already.

        To be appended to ``idle`` after use.
        """
        idle = self.idle
        try:
            context = idle.pop()
            if context.binding.shapes != shapes:
                for other in list(idle):
                    if other.binding.shapes == shapes:
                        idle.remove(other)
                        idle.append(context)
                        context = other  # which another thread may have bound anew since
                        break
            if context.binding.shapes not in (shapes, None):
                context = self._to_be_bound(context)
        except IndexError:
            context = self.own_context()
        except ValueError:
            pass  # another thread took it first
        if context.binding.shapes == shapes:
            context.binding.expect()
            return context
        try:
            self.signature.check_shapes(shapes)
            self._bind(context, shapes)
        except BaseException:
            idle.append(context)
            raise
        return context

    def _bind(self, context: Context, shapes: Shapes) -> None:
        """Bind a context; where there is no memory for it, others give theirs back."""
        try:
            context.binding.bind(shapes)
        except KernelError:
            if self.device.kept_bindings == 1 or not self.idle:
                raise
            self.idle.clear()
            context.binding.bind(shapes)


def _device_of(program: Program) -> Device:
    """Return what a program was lowered for."""
    name = program.metadata.get("device", "cpu")
    if name == "cpu":
        return Cpu()
    from .devices.find import device_of  # which takes as long to import as a small run

    return device_of(name)
