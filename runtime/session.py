"""Session: runs a model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument, KernelError
from ..kernels.precompile import compile_all
from ..kernels.storage import SHARED
from . import background
from .arguments import check_shapes, checked_object, sorted_choices, typed
from .cache_key import environment
from .executable import Executable
from .executor import Context
from .memory import prefault
from .program import Port, save_program
from .program_cache import open_program, optimized, portable
from .team import EXECUTOR_KERNELS

if TYPE_CHECKING:
    import onnx_ir as ir

    from .profile import RunProfile
    from .tuning import Tuning

_TYPES = {"float32": "float", "float64": "double", "object": "string"}
_PRECISIONS = ("fp32", "strict", "bf16_weights")
_LEVELS = ("none", "basic", "all")
# numpy's flags of arrays that are C-contiguous and aligned.
_READABLE = 0x0001 | 0x0100


class NodeArg:
    """An input or output: ``name``, ``type`` such as ``"tensor(float)"``, ``shape``."""

    def __init__(self, port: Port) -> None:
        self.name = port.name
        self.type = f"tensor({_TYPES.get(port.dtype, port.dtype)})"
        self.shape = port.dims

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"


@dataclass(frozen=True)
class ModelMetadata:
    """What a model says of itself; ``custom_metadata_map`` has labels and the like, as text."""

    producer_name: str
    graph_name: str
    domain: str
    description: str
    graph_description: str
    version: int
    custom_metadata_map: dict[str, str]


class Session:
    """A model ready to run.

    Parameters
    ----------
    model
        Anything ``sardonyx.load`` takes, or a program written by `save`.
    threads : int, optional
        Threads of a run; the number of processors this process may use when not given.
    precision : {"fp32", "strict", "bf16_weights"}
        ``"strict"`` keeps to algorithms that only reassociate sums. ``"bf16_weights"`` keeps the
        constant weights of MatMul and Gemm as bfloat16 where at most eight rows meet them: half
        the memory, up to twice the speed of fully connected layers at batch 1. Weights are
        rounded to 8 bits (a relative error of at most 2 ** -8 each); sums are float32.
    optimize : {"all", "basic", "none"}
        Level of the optimizer.
    tune : bool or mapping
        Measure which form of each convolution is fastest, and keep the answer on disk. Sizes that
        the model leaves open are given: ``{"batch": 1, "x": (1, 3, 640, 480)}``, a size for a
        dimension, a shape or an array for an input. Runs with other sizes use the same forms.
    choices : mapping of str to str, optional
        Forms of convolutions by the names of nodes, as the attribute ``choices`` gives them,
        for example of a session that was tuned. Others are chosen by cost, or by ``tune``.

    Attributes
    ----------
    choices : dict of str to str
        Forms that differ from the cost model's.
    tuning : Tuning or None
        What was measured.

    Raises
    ------
    InvalidModel, UnsupportedModel, InvalidArgument
        The model cannot run, or an option is not known.

    Notes
    -----
    Runs may be called from several threads at once; sessions can be used after a fork and can
    be pickled (by what they were made from).
    """

    def __init__(
        self,
        model: Any,
        *,
        threads: int | None = None,
        precision: str = "fp32",
        optimize: str = "all",
        tune: bool | Mapping[str, Any] = False,
        choices: Mapping[str, str] | None = None,
    ) -> None:
        self._source = model
        self.threads, self._options = checked_options(threads, precision, optimize, choices)
        self.tuning = self._tune(tune)
        self._program = open_program(model, self._options)
        self._compile()
        self._executable = Executable(self._program)
        self._contexts: list[Context] = []
        self._names = [port.name for port in self._program.inputs]
        dtypes = [None if p.dtype == "object" else np.dtype(p.dtype) for p in self._program.inputs]
        self._expected = list(zip(self._names, dtypes, strict=True))
        self._output_names = [port.name for port in self._program.outputs]
        self._prepare()

    @property
    def choices(self) -> dict[str, str]:
        """Forms of convolutions, by the names of nodes, that the cost model did not choose."""
        return dict(self._options["choices"])

    def _tune(self, tune: bool | Mapping[str, Any]) -> Tuning | None:
        """Add what is fastest to the choices."""
        if not isinstance(tune, bool | Mapping):
            kind = type(tune).__name__
            raise InvalidArgument(f"tune must be True, False or a mapping of sizes, not a {kind}")
        if tune is False:
            return None
        from .tuning import tuned

        sizes = tune if isinstance(tune, Mapping) else {}
        found = tuned(self._source, self._options, self.threads, sizes)
        self._options["choices"] = sorted_choices({**found.choices, **self._options["choices"]})
        return found

    def _prepare(self) -> None:
        """Do what would make the first run slower than the second, as far as shapes are known."""
        prefault(self._program.weights, writable=False)
        shapes = []
        for port in self._program.inputs:
            dims = () if port.dtype == "object" else port.dims
            if dims is None or any(not isinstance(dim, int) for dim in dims):
                return
            shapes.append(tuple(dim for dim in dims if isinstance(dim, int)))
        # What does not fit is said when it is run.
        with suppress(InvalidArgument, KernelError), self._context(tuple(shapes)) as context:
            context.prefault()

    def _compile(self) -> None:
        """Compile what is not cached, showing progress on a terminal."""
        try:
            compile_all([*self._program.kernels, *EXECUTOR_KERNELS])
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise KernelError(f"a kernel of the model does not compile: {reason}") from error

    # --- running ------------------------------------------------------------------------------

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run the model.

        Parameters
        ----------
        output_names : sequence of str, optional
            Outputs wanted; all when None.
        feeds : mapping
            An array for each input.

        Returns
        -------
        list
            One array for each output wanted.

        Raises
        ------
        InvalidArgument
            An input is missing, unknown, or of the wrong type or shape.
        KernelError
            A step failed.
        """
        arrays, shapes = self._arguments(feeds)
        context = self._borrow(shapes)
        try:
            results = context.run(arrays)
        finally:
            self._contexts.append(context)
        if output_names is None:
            return results
        return [results[self._output_index(name)] for name in output_names]

    def run_async(
        self,
        output_names: Sequence[str] | None,
        feeds: Mapping[str, Any],
        callback: background.Callback | None = None,
        user_data: Any = None,
    ) -> Future[list[Any]]:
        """Run in the background; as many runs at once as there are processors for.

        Parameters
        ----------
        output_names, feeds
            As for `run`. The arrays must not change until the run is done.
        callback : callable, optional
            Called in another thread as ``callback(results, user_data, error)``, like
            onnxruntime's: ``error`` is a text, empty when all went well.
        user_data
            Given to the callback.

        Returns
        -------
        concurrent.futures.Future
            Of what `run` returns or raises; ``asyncio.wrap_future`` makes it awaitable.
        """
        given = dict(feeds) if isinstance(feeds, Mapping) else feeds
        arguments = (output_names, given)
        return background.submit(self.run, arguments, self.threads, callback, user_data)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run with inputs in order or by name; one output comes alone, several as a tuple."""
        if len(args) > len(self._names):
            raise InvalidArgument(f"{len(args)} inputs given, the model has {len(self._names)}")
        feeds = dict(zip(self._names, args, strict=False))
        if kwargs:
            if twice := sorted(feeds.keys() & kwargs.keys()):
                raise InvalidArgument(f"inputs given twice: {twice}")
            feeds |= kwargs
        results = self.run(None, feeds)
        return results[0] if len(results) == 1 else tuple(results)

    def _output_index(self, name: str) -> int:
        try:
            return self._output_names.index(name)
        except ValueError:
            raise InvalidArgument(
                f"no output {name!r}; the outputs are {self._output_names}"
            ) from None

    def _arguments(
        self, feeds: Mapping[str, Any]
    ) -> tuple[list[np.ndarray], tuple[tuple[int, ...], ...]]:
        if type(feeds) is not dict and not isinstance(feeds, Mapping):
            kind = type(feeds).__name__
            raise InvalidArgument(f"inputs are given as a mapping by name, not as a {kind}")
        arrays: list[Any] = []
        shapes: list[tuple[int, ...]] = []
        try:
            for name, dtype in self._expected:
                array = feeds[name]
                if dtype is None:
                    arrays.append(checked_object(self._program.inputs[len(arrays)], array))
                    shapes.append(())
                    continue
                if type(array) is not np.ndarray or array.dtype is not dtype:
                    array = typed(array, name, dtype)
                if array.flags.num & _READABLE != _READABLE:
                    array = np.array(array, order="C")
                arrays.append(array)
                shapes.append(array.shape)
        except KeyError:
            pass
        if len(arrays) != len(feeds) or len(arrays) != len(self._expected):
            missing = [name for name in self._names if name not in feeds]
            unknown = [name for name in feeds if name not in self._names]
            raise InvalidArgument(f"inputs missing: {missing}, inputs not known: {unknown}")
        return arrays, tuple(shapes)

    def _borrow(self, shapes: tuple[tuple[int, ...], ...]) -> Context:
        """Take a context bound to the shapes, preferably one that is bound to them already.

        Contexts are appended to ``_contexts`` after use. Lists change in one go under the GIL.
        """
        contexts = self._contexts
        try:
            context = contexts.pop()
            if context.shapes != shapes:
                for other in list(contexts):
                    if other.shapes == shapes:
                        contexts.remove(other)
                        contexts.append(context)
                        context = other  # which another thread may have bound anew since
                        break
        except IndexError:
            context = Context(self._executable, self.threads)
        except ValueError:
            pass  # another thread took it first
        if context.shapes != shapes:
            try:
                check_shapes(self._program.inputs, shapes)
                context.bind(shapes)
            except BaseException:
                contexts.append(context)
                raise
        return context

    @contextmanager
    def _context(self, shapes: tuple[tuple[int, ...], ...]) -> Iterator[Context]:
        context = self._borrow(shapes)
        try:
            yield context
        finally:
            self._contexts.append(context)

    # --- looking in ---------------------------------------------------------------------------

    def get_inputs(self) -> list[NodeArg]:
        """Describe the inputs."""
        return [NodeArg(port) for port in self._program.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Describe the outputs."""
        return [NodeArg(port) for port in self._program.outputs]

    def get_modelmeta(self) -> ModelMetadata:
        """Return what the model says of itself."""
        return ModelMetadata(**self._program.metadata["model"])

    def profile(self, feeds: Mapping[str, Any], runs: int = 20, warmup: int = 3) -> RunProfile:
        """Time every step over several runs."""
        from .profile import profile

        arrays, shapes = self._arguments(feeds)
        with self._context(shapes) as context:
            return profile(context, arrays, runs, warmup)

    def trace(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run step by step; every value the program materialises, by its ONNX name."""
        arrays, shapes = self._arguments(feeds)
        with self._context(shapes) as context:
            return {
                self._program.tensors[index].name: value
                for index, value in context.trace(arrays)
                if self._program.tensors[index].name
            }

    def optimized_model(self) -> ir.Model:
        """Return the model that was lowered, made again from the source."""
        return optimized(self._source, self._options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program, which opens on this kind of processor without being lowered again."""
        if not save_program(self._program, Path(path), environment(), SHARED):
            raise InvalidArgument(f"cannot write {os.fspath(path)!r}")

    # --- life ---------------------------------------------------------------------------------

    def shrink(self) -> None:
        """Give back the working memory of idle runs."""
        self._contexts.clear()

    def close(self) -> None:
        """Same as `shrink`; the session can still be used."""
        self.shrink()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        return _reopen, (portable(self._source), self.threads, self._options)


def checked_options(
    threads: int | None, precision: str, optimize: str, choices: Mapping[str, str] | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the number of threads and the options that a program depends on.

    Raises
    ------
    InvalidArgument
        An option is not known.
    """
    if precision not in _PRECISIONS:
        raise InvalidArgument(f"precision must be one of {_PRECISIONS}, not {precision!r}")
    if optimize not in _LEVELS:
        raise InvalidArgument(f"optimize must be one of {_LEVELS}, not {optimize!r}")
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InvalidArgument(f"threads must be a positive integer, not {threads!r}")
    options = {"precision": precision, "optimize": optimize, "choices": sorted_choices(choices)}
    return threads or len(os.sched_getaffinity(0)), options


def _reopen(source: Any, threads: int, options: dict[str, Any]) -> Session:
    return Session(source, threads=threads, **options)
