"""Session: a model ready to run, with onnxruntime's interface."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..custom_operators import find
from ..errors import InvalidArgument, UnsupportedModel
from ..given_numbers import whole
from . import background, endings, stateful
from .choices import Suggestions
from .defaults import noted_defaults
from .engine import Engine
from .options import checked_options, sorted_choices
from .program import Port
from .program_cache import open_program, optimized, portable, save_artifact
from .variants import Variants

if TYPE_CHECKING:
    import onnx_ir as ir

    from .io_binding import IOBinding
    from .profile import RunProfile
    from .tuning import Tuning
    from .variant_inputs import VariantInputs


class NodeArg:
    """An input or output: ``name``, ``type`` such as ``"tensor(float)"``, ``shape``.

    Types are written as onnxruntime does: ``"seq(map(int64,tensor(float)))"``.
    """

    def __init__(self, port: Port) -> None:
        self.name = port.name
        self.type = port.type
        self.shape = port.dims

    def __repr__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of a model; ``custom_metadata_map`` has labels and the like, as text."""

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
        Anything ``sardonyx.load`` takes, or an artifact (``.sdx``) written by `save`.
    threads : int, optional
        Threads of a run. When not given, the environment variable ``SARDONYX_THREADS`` says; else
        one for each core that this process may use: those of its affinity mask, hyper-threads of
        one core counted once, and no more than the CPU quota of its cgroup pays for. More threads
        than that work, and give the same results; at most 240, the parts of a step.
    precision : {"fp32", "strict", "bf16x3", "bf16", "bf16_weights", "int8_activations"}
        ``"strict"`` keeps to algorithms that only reassociate sums, and rounds float16 and bfloat16
        after each operator; otherwise they are computed as float32. ``"bf16"`` rounds
        operands of Conv, MatMul and Gemm with constant weights to bfloat16 (a relative error of at
        most 2 ** -8 each) where that is faster; sums, and all other computations, are float32.
        Values between such operators are bfloat16 in memory, too. Where the processor has no
        instruction for it that pays, there is a warning, and the session is that of ``"fp32"``.
        Where the processor has AMX, ``"fp32"`` multiplies float32 by three products of bfloat16,
        with an error of 5e-6 of the largest result, or by six, as exact as float32, in
        convolutions that have no Winograd form, products that no other comes before, and of two
        computed operands; ``"bf16x3"`` takes three there, too.
        ``"bf16_weights"`` keeps the constant weights of MatMul and Gemm as bfloat16 where at most
        eight rows meet them: half the memory, up to twice the speed of fully connected layers at
        batch 1. Weights are rounded to 8 bits (a relative error of at most 2 ** -8 each); sums are
        float32. ``"int8_activations"`` lets products with constant weights of at most 8 bits (a
        DequantizeLinear, MatMulNBits) round their other operand to 8 bits, too, in blocks of a row,
        as MatMulNBits with ``accuracy_level`` 4 always allows unless ``"strict"``.
    optimize : {"all", "basic", "none"}
        Level of the optimizer.
    tune : bool or mapping
        Measure which form of each convolution is fastest, and keep the answer on disk. Sizes that
        the model leaves open are given: ``{"batch": 1, "x": (1, 3, 640, 480)}``, a size for a
        dimension, a shape or an array for an input. Runs with other sizes use the same forms.
    choices : mapping of str to str, optional
        Forms of convolutions by the names of nodes, as the attribute ``choices`` gives them,
        for example of a session that was tuned. Others are chosen by cost, or by ``tune``.
    fold_limit : int, optional
        Bytes that a constant computed by the optimizer may have, 1 MiB by default.
    max_iterations : int, optional
        Iterations of a Loop beyond which a run fails. When not given, a Loop may go on until it is
        interrupted (Ctrl-C) or cancelled.
    device : {"cpu", "cuda"}
        What the model runs on. On an NVIDIA GPU (``"cuda"``; it needs the extra ``sardonyx[cuda]``)
        nodes without a kernel there run on the CPU between, which the profile shows.

    Attributes
    ----------
    engine : Engine
        The program and what runs it.
    threads : int
        Threads of a run.
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

    @endings.awaited()
    def __init__(
        self,
        model: Any,
        *,
        threads: int | None = None,
        precision: str = "fp32",
        optimize: str = "all",
        tune: bool | Mapping[str, Any] = False,
        choices: Mapping[str, str] | None = None,
        fold_limit: int | None = None,
        max_iterations: int | None = None,
        device: str = "cpu",
    ) -> None:
        self._source = model
        self.threads, self._options = checked_options(
            threads, precision, optimize, choices, fold_limit, max_iterations, device
        )
        self.tuning = self._tune(tune)
        self.engine = Engine(open_program(model, self._options), self.threads)
        self._output_names = [port.name for port in self.engine.program.outputs]
        self._defaults = noted_defaults(self.engine.program.metadata.get("defaults"))
        self._default_names = frozenset(port.name for port in self._defaults)
        self._variants = Variants(model, self._options, self.engine, self._default_names)

    @property
    def device(self) -> str:
        """What the model runs on: ``"cpu"``, or ``"cuda:"`` and the GPU's compute capability."""
        name: str = self._options.get("device", "cpu")
        return name

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
        from .tuning import tuned  # takes 3 ms, which few sessions need

        sizes = tune if isinstance(tune, Mapping) else {}
        tuning = tuned(self._source, self._options, self.threads, sizes)
        self._options["choices"] = sorted_choices({**tuning.choices, **self._options["choices"]})
        return tuning

    # --- running ------------------------------------------------------------------------------

    def run(self, output_names: Sequence[str] | None, feeds: Mapping[str, Any]) -> list[Any]:
        """Run the model.

        Parameters
        ----------
        output_names : sequence of str, optional
            Outputs wanted; all when None.
        feeds : mapping
            An array for each input, and for any of `get_overridable_initializers`.

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
        engine = self._variants.choose(feeds) if self._variants.is_needed else self.engine
        results = engine.run(feeds)
        if output_names is None:
            return results
        return [results[self._output_index(name)] for name in output_names]

    def io_binding(self) -> IOBinding:
        """Return what binds arrays to inputs and outputs, which may stay on the device.

        It has onnxruntime's interface, with arrays where that has addresses.
        """
        from .io_binding import IOBinding  # which few sessions need

        return IOBinding(self.engine)

    def run_with_iobinding(
        self, iobinding: IOBinding, wait: bool = True, stream: int | None = None
    ) -> None:
        """Run with bound arrays; see `IOBinding.run`."""
        iobinding.run(wait, stream)

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
        if isinstance(feeds, Mapping):
            feeds = dict(feeds)
        arguments = (output_names, feeds)
        return background.submit(self.run, arguments, self.threads, callback, user_data)

    def stateful(
        self, states: Mapping[str, str] | None = None, capacity: int = 256
    ) -> stateful.Stateful:
        """Return the model with states: outputs that are inputs of the next run.

        Caches that a run makes longer grow in place: nothing of them is copied.

        Parameters
        ----------
        states : mapping of str to str, optional
            Input of each state by its output; by default those that are named as exporters name
            caches (``present.0.key`` and ``past_key_values.0.key``, and the like).
        capacity : int
            Length that caches have room for at first; it is doubled when it does not suffice. The
            memory of runs is planned for caches of this length, so that none before allocates or
            plans: give what the longest text needs.

        Raises
        ------
        InvalidArgument
            An input or an output is unknown or used twice, or no states are found.
        """
        if self.device != "cpu":
            raise UnsupportedModel(f"states are kept on the CPU only, not on {self.device!r}")
        inputs = self.engine.signature.names
        if states is None:
            states = stateful.matched_states(inputs, self._output_names)
        pairs = [list(pair) for pair in sorted(states.items())]
        for known, names in (
            (self._output_names, [o for o, _ in pairs]),
            (inputs, states.values()),
        ):
            for name in names:
                if name not in known:
                    raise InvalidArgument(f"no {name!r} among {list(known)}")
        if not pairs or len({name for _, name in pairs}) < len(pairs):
            raise InvalidArgument(f"states must be outputs and inputs, each once, not {states}")
        capacity = whole(capacity, "capacity must be a positive integer", 1)
        options = {**self._options, "states": pairs}

        def open_engine(assumed: VariantInputs) -> Engine:
            more = {"assumed": assumed} if assumed else {}
            return Engine(open_program(self._source, {**options, **more}), self.threads)

        return stateful.Stateful(self.engine.program, open_engine, states, capacity)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run with inputs in order or by name; one output comes alone, several as a tuple."""
        names = self.engine.signature.names
        if len(args) > len(names):
            raise InvalidArgument(f"{len(args)} inputs given, the model has {len(names)}")
        feeds = dict(zip(names, args, strict=False))
        if kwargs:
            if repeated := sorted(feeds.keys() & kwargs.keys()):
                raise InvalidArgument(f"inputs given twice: {repeated}")
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

    # --- looking in ---------------------------------------------------------------------------

    def get_inputs(self) -> list[NodeArg]:
        """Describe the inputs."""
        return [NodeArg(port) for port in self.engine.program.inputs]

    def get_outputs(self) -> list[NodeArg]:
        """Describe the outputs."""
        return [NodeArg(port) for port in self.engine.program.outputs]

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Describe the initializers that are inputs, too: a run may give them."""
        return [NodeArg(port) for port in self._defaults]

    def get_modelmeta(self) -> ModelMetadata:
        """Return what the model says of itself."""
        return ModelMetadata(**self.engine.program.metadata["model"])

    def profile(self, feeds: Mapping[str, Any], runs: int = 20, warmup: int = 3) -> RunProfile:
        """Time every step over several runs, at least one, after some that warm up."""
        runs = whole(runs, "runs must be a positive integer", 1)
        warmup = whole(warmup, "warmup must be a number of runs")
        return self._variants.choose(feeds, at_once=True).profile(feeds, runs, warmup)

    def trace(self, feeds: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Run step by step; every value the program materialises, by its ONNX name."""
        return self._variants.choose(feeds, at_once=True).trace(feeds)

    def optimized_model(self) -> ir.Model:
        """Return the model that was lowered, made again from the source."""
        return optimized(self._source, self._options)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the optimized model with the precision and choices of this session: an artifact.

        ``Session(path)`` opens it, at once where it was saved (the program is in the cache); on
        other machines it is lowered once. It is a model, and needs no more trust than one.

        Parameters
        ----------
        path : path-like
            It must end in ``.sdx``.

        Raises
        ------
        InvalidArgument
            The name ends otherwise, the file cannot be written, the model exceeds 2 GB, or its
            file has changed since the session was opened.
        """
        save_artifact(self._source, self._options, self.engine.program, path)

    # --- life ---------------------------------------------------------------------------------

    def shrink(self) -> None:
        """Give back the working memory and the threads of idle runs."""
        for engine in self._variants.all():
            engine.shrink()

    def close(self) -> None:
        """Same as `shrink`; the session can still be used."""
        self.shrink()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> Any:
        used = self.engine.program.metadata["custom"]
        functions = [each.function for key in used if (each := find(*key)) is not None]
        return _reopen, (portable(self._source), self.threads, self._options, functions)


def _reopen(
    source: Any, threads: int, options: dict[str, Any], functions: Sequence[Any] = ()
) -> Session:
    """Open a session again; what pickled its functions has imported, and so registered, them."""
    own = {name: value for name, value in options.items() if name != "suggested"}
    own["choices"] = Suggestions(own["choices"])
    return Session(source, threads=threads, **own)
