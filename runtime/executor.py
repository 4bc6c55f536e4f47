"""Context of a run: stretches of compiled steps, and host steps and readings between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import KernelError
from ..forks import fork_lock
from ..kernels.abi import (
    CALL_FAILED,
    JOB_BUSY,
    JOB_FIRST,
    JOB_LAST,
    JOB_TEAM,
    JOB_TIMES,
    SIZE_LIMIT,
    STATUS_CANCEL,
    STATUS_ERROR,
    STATUS_STEP,
    TIMES_STEPS,
)
from ..kernels.index_errors import error_text
from ..kernels.record import address_of
from . import endings
from . import team as teams
from .arguments import Shapes, Signature
from .binding import Binding, Output
from .executable import Executable
from .host_calls import HostCall, host_ports
from .memory import allocated, keep_at_hand
from .objects import bytes_of
from .program import Reading, Stretch

if TYPE_CHECKING:
    from .devices.copied import Copied

_empty = np.empty

_MOST_SHAPES = 64
"""Shapes of its inputs that a body of a host step stays bound to."""
_MOST_BYTES = 8 << 20
"""Working memory of a body that is bound to several shapes, all together."""


class Context:
    """State of one run at a time: a binding, and the next step of the run.

    Parameters
    ----------
    executable : Executable
    threads : int
    is_inner : bool
        Whether results that lie with the host are for another host step, which may share them.

    Attributes
    ----------
    program : Program
    binding : Binding
        To be bound to the shapes of the inputs before a run.
    host_ns : ndarray of int64
        Nanoseconds that each host step of the last run took.
    copies : list of Copied
        Those of the last run; none where all steps run on the host.
    places : mapping
        Where inputs of the next run lie on another device, by the ``id`` of their arrays.
    """

    def __init__(self, executable: Executable, threads: int, is_inner: bool = False) -> None:
        self.program = executable.program
        self.threads, self._is_inner = threads, is_inner
        self.binding = binding = self._new_binding(executable, threads)
        self.host_ns = np.zeros(len(self.program.host_steps), np.int64)
        self._executable = executable
        # What a binding never replaces, looked up once.
        self._is_plain, self._native_walk, self._native_call = (
            binding.is_plain, binding.walk, binding.call,
        )  # fmt: skip
        self._job, self._status, self._ids = binding.job, binding.status, binding.array_ids
        self._invariants = binding.invariants
        self._phase = 0
        self._input_buffers, self._taken = host_ports(self.program)
        self._whole = self._bounds = (0, len(self.program.steps))
        self._team_address = 0
        self._is_first = True
        self._host_calls: list[HostCall] = []
        self._computes_on_host = False
        self.copies: list[Copied] = []
        self.places: Mapping[int, Any] = {}
        self._bodies: list[Body] = []
        endings.register(self)

    def _new_binding(self, executable: Executable, threads: int) -> Binding:
        return Binding(executable, threads)

    @property
    def nanoseconds_per_tick(self) -> float:
        """Length of a tick of what `run` writes."""
        from .ticks import nanoseconds_per_tick  # which only a profile needs

        return nanoseconds_per_tick()

    def run(self, arrays: Sequence[Any], ticks: np.ndarray | None = None) -> list[Any]:
        """Run with contiguous arrays of the bound dtypes and shapes.

        Parameters
        ----------
        arrays : sequence
            One for each input of the program; a Python object for one that is no plain tensor.
        ticks : ndarray of int64, optional
            Gets the ticks of the time stamp counter that each step took, one element a step.

        Returns
        -------
        list
            One array (or Python object) for each output.

        Raises
        ------
        KernelError
            A step failed, or the run was cancelled.
        """
        if self._is_plain and ticks is None:
            outputs = self._begin_plain(arrays)
            self._run_steps(0, len(self.program.steps))
            if self._invariants.is_open:
                self.binding.leave_out_invariants()
            return outputs
        outputs = self._begin(arrays)
        try:
            if self._computes_on_host:
                with np.errstate(all="ignore"):
                    self._run_stretches(outputs, ticks)
            else:
                self._run_stretches(outputs, ticks)
            if self._invariants.is_open:
                self.binding.leave_out_invariants()
            return self._collect(outputs)
        finally:
            self.binding.let_go()

    def _run_stretches(self, outputs: list[Any], ticks: np.ndarray | None) -> None:
        for stretch in self.program.stretches:
            if stretch.first < stretch.last:
                if ticks is None:
                    self._run_steps(stretch.first, stretch.last)
                else:
                    self._time_steps(stretch.first, stretch.last, ticks)
            self._end_stretch(stretch, outputs)

    def call(self, feeds: Mapping[str, Any]) -> list[Any] | None:
        """Run with arrays that are as the last runs', without a look at them in Python.

        Returns
        -------
        list or None
            One array for each output; None if nothing was done, because something is different.

        Raises
        ------
        KernelError
            A step failed, or the run was cancelled.
        """
        if self._bounds is not self._whole:
            self._set_bounds(self._whole)
        if self.threads == 1 or self.binding.is_alone:
            results = self._native_call(feeds)
        else:
            results = self._with_team(self._native_call, feeds)
        if type(results) is list:
            return results
        if results == CALL_FAILED:
            self._raise_if_failed()
        return None

    def trace(self, arrays: Sequence[Any]) -> Iterator[tuple[int, np.ndarray]]:
        """Run step by step; yields a copy of every tensor a step writes, with its index."""
        self._invariants.restore()
        outputs = self._begin(arrays)
        for stretch in self.program.stretches:
            step = stretch.first
            while step < stretch.last:
                done, step = step, self._run_steps(step, step + 1)
                for tensor in self.program.steps[done].outputs:
                    yield tensor, self._traced(tensor)
            self._end_stretch(stretch, outputs)
            if stretch.host >= 0:
                for tensor in self.program.host_steps[stretch.host].outputs:
                    if tensor >= 0 and isinstance(self.binding.view(tensor), np.ndarray):
                        yield tensor, self._traced(tensor)

    def _traced(self, tensor: int) -> np.ndarray:
        """Return a copy of a tensor that a step has just written."""
        copy: np.ndarray = self.binding.view(tensor).copy()
        return copy

    def finish(self) -> None:
        """Wait for a run that nobody has waited for: on the processor there is none."""

    def cancel(self) -> None:
        """Ask a run in another thread to stop after the step it is in."""
        self._status[STATUS_CANCEL] = 1
        for body in self._bodies:
            body.cancel()

    @property
    def is_walking(self) -> bool:
        """Whether a thread is in compiled code, or waits for the GIL after it."""
        return bool(self._job[JOB_BUSY])

    def forget_walk(self) -> None:
        """Forget the thread in compiled code, which a forked child lacks."""
        self._job[JOB_BUSY] = 0

    def _begin_plain(self, arrays: Sequence[Any]) -> list[Any]:
        """Begin a run without host steps, with as little Python as possible."""
        specs = self.binding.outputs
        try:
            outputs = [_empty(shape, dtype) for _, _, shape, dtype in specs]
        except (MemoryError, ValueError):
            outputs = [allocated(shape, dtype, "an output") for _, _, shape, dtype in specs]
        ids = self._ids
        index = 0
        for value in arrays:
            ids[index] = id(value)
            index += 1
        for value in outputs:
            ids[index] = id(value)
            index += 1
        return outputs

    def _begin(self, arrays: Sequence[Any]) -> list[Any]:
        if self._is_plain:
            return self._begin_plain(arrays)
        if not self._host_calls and self.program.host_steps:
            self._make_host_calls()
        binding = self.binding
        for (tensor, buffer, is_read), array in zip(self._input_buffers, arrays, strict=True):
            if is_read:
                binding.attach(buffer, array)
            if tensor >= 0:
                binding.inputs[tensor] = array
        self._phase = 0
        outputs: list[Any] = [None] * len(self.program.outputs)
        self._make_outputs(outputs, binding.outputs)
        return outputs

    def _make_outputs(self, outputs: list[Any], specs: list[Output]) -> None:
        for index, buffer, shape, dtype in specs:
            outputs[index] = allocated(shape, dtype, "an output")
            self.binding.attach(buffer, outputs[index])

    def _collect(self, outputs: list[Any]) -> list[Any]:
        """Add what lies with the host to the outputs, as the caller's own unless it is a step."""
        binding = self.binding
        for index, tensor, is_last in self._taken:
            if outputs[index] is None and self._is_inner and binding.lies_with_host(tensor):
                outputs[index] = binding.objects.get(self.program.tensors[tensor].buffer)
            elif outputs[index] is None:
                outputs[index] = binding.taken(tensor, is_last)
        if self._is_first and not self._is_inner:
            self._is_first = False
            keep_at_hand(sum(map(bytes_of, outputs)))
        return outputs

    def _run_steps(self, first: int, last: int) -> int:
        """Walk some steps; returns the step that comes next, which one may name itself."""
        if (first, last) != self._bounds:
            self._set_bounds((first, last))
        if self.threads == 1 or self.binding.is_alone:
            reached: int = self._native_walk()
        else:
            reached = self._with_team(self._native_walk)
        if reached < 0:
            self._raise_if_failed()
        return reached

    def _set_bounds(self, bounds: tuple[int, int]) -> None:
        self._job[JOB_FIRST], self._job[JOB_LAST] = self._bounds = bounds

    def _with_team(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Call a function of the binding while a team is there to help."""
        team = teams.borrow(self.threads)
        try:
            if team.address != self._team_address:
                self._job[JOB_TEAM] = self._team_address = team.address
            return function(*arguments)
        finally:
            teams.give_back(team)

    def _time_steps(self, first: int, last: int, ticks: np.ndarray) -> None:
        times = np.zeros(TIMES_STEPS + len(self.program.steps), np.int64)
        self._job[JOB_TIMES] = address_of(times)
        try:
            self._run_steps(first, last)
        finally:
            self._job[JOB_TIMES] = 0
        ticks[first:last] = times[TIMES_STEPS:][first:last]

    def _raise_if_failed(self) -> None:
        if code := int(self._status[STATUS_ERROR]):
            step = self.program.steps[int(self._status[STATUS_STEP])]
            names = (self.program.tensors[tensor].name for tensor in step.outputs)
            written = ", ".join(repr(name) for name in names if name)
            what = f", computing {written}" if written else ""
            name, from_end, *slots = step.indexed or ("", 0)
            sizes = [self.binding.value(slot) for slot in slots]
            text = error_text(code, name, sizes, bool(from_end))
            raise KernelError(f"{step.label}{what}: {text}")
        if self._status[STATUS_CANCEL]:
            self._status[STATUS_CANCEL] = 0
            fork_lock.pass_by()
            raise KernelError("the run was cancelled")

    # --- between stretches --------------------------------------------------------------------

    def _end_stretch(self, stretch: Stretch, outputs: list[Any]) -> None:
        if stretch.host >= 0:
            self._run_host(stretch.host, outputs)
        elif stretch.reading >= 0:
            self._read(self.program.readings[stretch.reading], outputs)

    def _read(self, reading: Reading, outputs: list[Any]) -> None:
        """Begin a phase with the sizes that a tensor holds."""
        numbers = self.binding.numbers(reading.tensor)
        sizes = (min(max(number, 1 - SIZE_LIMIT), SIZE_LIMIT - 1) for number in numbers)
        self._phase += 1
        self.binding.define(self._phase, zip(reading.symbols, sizes, strict=True))
        self._make_outputs(outputs, self.binding.enter(self._phase))

    def _run_host(self, index: int, outputs: list[Any]) -> None:
        start = time.perf_counter_ns()
        binding, call = self.binding, self._host_calls[index]
        results = call.run()
        if call.defines:
            self._phase += 1
            binding.define(self._phase, call.sizes(results))
        if call.has_shapes:
            call.check_shapes()
        if call.defines:
            self._make_outputs(outputs, binding.enter(self._phase))
        binding.fill_host(index)
        for buffer in self._executable.last_read[index]:
            binding.objects.pop(buffer, None)
        self.host_ns[index] = time.perf_counter_ns() - start

    def _make_host_calls(self) -> None:
        """Make host steps ready; the operator of one with bodies is the context's own."""
        executable, calls = self._executable, []
        for index, host in enumerate(self.program.host_steps):
            if host.bodies:
                operator = executable.new_host_operator(index)
                own = {n: Body(executable.body(i), self.threads) for n, i in host.bodies.items()}
                operator.compute_bodies({name: body.run for name, body in own.items()})
                self._bodies += own.values()
            else:
                operator = executable.host_operator(index)
            self._computes_on_host |= not operator.moves
            calls.append(HostCall(host, operator, self.binding))
        self._host_calls = calls


class Body:
    """A body of a host step: a program, run with what the step gives it.

    Shapes that a run of the step meets one after the other come again in its next run, so each has
    a context of its own, whose binding takes longer than a small body. Which one comes after which
    is noted: if its shapes fit, nothing is looked at in Python.

    Parameters
    ----------
    executable : Executable
    threads : int
    """

    def __init__(self, executable: Executable, threads: int) -> None:
        self._executable, self._threads = executable, threads
        self._contexts: dict[Shapes, Context] = {}  # the one that was used last is the last
        self._last: Context | None = None
        self._next: dict[Context, Context] = {}  # the one that was used after it
        self._signature = Signature(executable.program.inputs)

    def run(self, values: Mapping[str, Any]) -> list[Any]:
        """Run with values by name, some of which the body uses.

        Raises
        ------
        KernelError, InvalidArgument
            A step failed, or sizes do not fit.
        """
        feeds = {name: values[name] for name in self._signature.names}
        last = self._last
        if last is not None:
            for context in (last, self._next.get(last)):
                results = None if context is None else context.call(feeds)
                if results is not None:
                    self._note(context)
                    return results
        arrays, shapes = self._signature.arrays(feeds, are_checked=True)
        context = self._contexts.pop(shapes, None) or self._bound(shapes)
        self._contexts[shapes] = context
        if context.binding.is_plain:
            if last is not None:
                self._next[last] = context
            self._last = context
            context.binding.expect()
        return context.run(arrays)

    def _note(self, context: Context | None) -> None:
        """Note which context was used last."""
        if context is None or context is self._last:
            return
        self._last = context
        shapes = context.binding.shapes
        assert shapes is not None
        self._contexts[shapes] = self._contexts.pop(shapes)

    def cancel(self) -> None:
        """Ask a run in another thread to stop after the step it is in."""
        for context in list(self._contexts.values()):
            context.cancel()

    def _bound(self, shapes: Shapes) -> Context:
        """Return a context bound to shapes that none is: a new one, or the one not used longest."""
        self._signature.check_shapes(shapes)
        oldest, context = next(iter(self._contexts.items()), ((), None))
        count = len(self._contexts)
        held = 0 if context is None else (count + 1) * context.binding.arena_bytes
        if context is not None and (count >= _MOST_SHAPES or held > _MOST_BYTES):
            del self._contexts[oldest]
        else:
            context = Context(self._executable, self._threads, is_inner=True)
        context.binding.bind(shapes)
        return context
