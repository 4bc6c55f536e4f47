"""Functions of TensorFlow: ``tf.function``, concrete functions and callable modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgument
from ...logs import silenced
from ..frameworks import common_batch_size, conversion, plain_array
from ..notes import Notes
from .checkpoints import restore
from .conversion import LOGGERS
from .freezing import freeze, refuse_writes
from .graph_def import convert_graph

if TYPE_CHECKING:
    import onnx_ir as ir


def from_function(
    source: Any, notes: Notes, example_inputs: Any = None, checkpoint: Any = None
) -> ir.Model:
    """Convert a ``tf.function``, a ``ConcreteFunction`` or a callable ``tf.Module``.

    Parameters
    ----------
    source
        The function or module.
    notes : Notes
        Filled in: how to run the source, labels, normalization.
    example_inputs : tensor, sequence or mapping, optional
        What a function without input signature is called with. The first axis is the dynamic
        dimension ``batch`` where all agree on its size.
    checkpoint : str or path, optional
        The prefix of a ``tf.train.Checkpoint`` whose values the variables of a module or function
        get; see `restore`.

    Raises
    ------
    ImportFailed
        The conversion failed; says why.
    InvalidArgument
        The function needs example inputs, or there is no such checkpoint.
    UnsupportedModel
        An operator has no counterpart in ONNX.
    """
    import tensorflow as tf

    function = source
    if isinstance(source, tf.Module) and not hasattr(source, "get_concrete_function"):
        function = getattr(source, "__call__", None)  # noqa: B004
    if hasattr(function, "get_concrete_function"):
        function = _concrete(tf, function, example_inputs)
    if not hasattr(function, "structured_input_signature"):
        raise InvalidArgument(
            f"a {type(source).__name__} is not a tf.function: decorate its function with that"
        )
    if checkpoint is not None:
        restore(tf, source, function.variables, checkpoint)
    what = getattr(source, "name", None) or type(source).__name__
    return convert_function(tf, function, what, notes, one_batch=example_inputs is not None)


def _concrete(tf: Any, function: Any, example_inputs: Any) -> Any:
    if getattr(function, "input_signature", None) is None and example_inputs is None:
        raise InvalidArgument(
            "the tf.function has no input signature: give it one, or example_inputs="
        )
    with conversion("TensorFlow", "the tf.function"):
        if example_inputs is None:
            return function.get_concrete_function()
        if isinstance(example_inputs, Mapping):
            names = list(example_inputs)
            specs = _specs(tf, list(example_inputs.values()), names)
            return function.get_concrete_function(**dict(zip(names, specs, strict=True)))
        several = isinstance(example_inputs, list | tuple)
        values = example_inputs if several else [example_inputs]
        return function.get_concrete_function(*_specs(tf, values, [None] * len(values)))


def _specs(tf: Any, values: Sequence[Any], names: Sequence[str | None]) -> list[Any]:
    tensors = [tf.convert_to_tensor(value) for value in values]
    first = [] if common_batch_size(tensors) is None else [None]
    return [
        tf.TensorSpec([*first, *tensor.shape[len(first) :]], tensor.dtype, name)
        for tensor, name in zip(tensors, names, strict=True)
    ]


def convert_function(
    tf: Any, function: Any, what: str, notes: Notes, one_batch: bool = False
) -> ir.Model:
    """Convert a concrete function.

    With ``one_batch`` all inputs have the same open first axis; else each has its own.
    """
    structure = function.structured_input_signature
    flat = tf.nest.flatten(structure)
    specs = [spec for spec in flat if isinstance(spec, tf.TensorSpec)]
    names = _distinct([spec.name or f"input_{i}" for i, spec in enumerate(specs)])

    def call(*tensors: Any) -> Any:
        given = iter(tensors)  # arguments that are no tensors are constants of the signature
        values = [next(given) if isinstance(each, tf.TensorSpec) else each for each in flat]
        args, kwargs = tf.nest.pack_sequence_as(structure, values)
        return function(*args, **kwargs)

    signature = [
        tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(specs, names, strict=True)
    ]
    with conversion("TensorFlow", what), silenced(*LOGGERS), tf.device("/cpu:0"):
        concrete = tf.function(call).get_concrete_function(*signature)
        refuse_writes(concrete.graph.as_graph_def(), what)
        fed = [value.name for value in concrete.inputs[: len(names)]]  # captures come after
        fetched = [value.name for value in concrete.outputs if value.dtype != tf.resource]
        frozen, tables = freeze(tf, concrete, fed, fetched)
    inputs = dict(zip(fed, names, strict=True))
    outputs = dict(zip(fetched, _output_names(tf, function.structured_outputs), strict=True))
    model = convert_graph(tf, frozen, what, notes, inputs, outputs, one_batch, tables)

    def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        given = (tf.constant(feeds[spec.name], spec.dtype) for spec in signature)
        results = [value for value in tf.nest.flatten(call(*given)) if value.dtype != tf.resource]
        return [plain_array(value.numpy()) for value in results]

    notes.run = run
    return model


def _distinct(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return result


def _output_names(tf: Any, outputs: Any) -> list[str]:
    """Names by the structure of a function's results: keys of a mapping, else numbers."""
    if isinstance(outputs, Mapping):
        return [str(name) for name in sorted(outputs)]
    count = len(tf.nest.flatten(outputs))
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]
