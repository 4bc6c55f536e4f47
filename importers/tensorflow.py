"""TensorFlow: SavedModel folders and functions, through tf2onnx."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .. import InvalidArgument, UnsupportedModel
from .frameworks import batches, conversion, rename, require
from .onnx import from_onnx

if TYPE_CHECKING:
    import onnx_ir as ir

_OPSET = 18
"""The newest opset that tf2onnx writes."""


def from_tensorflow(
    source: Any, signature: str = "serving_default", example_inputs: Any = None
) -> ir.Model:
    """Convert a SavedModel, a ``tf.function``, a ``ConcreteFunction`` or a callable ``tf.Module``.

    Parameters
    ----------
    source
        A SavedModel folder or one of these objects.
    signature : str
        Which signature of a SavedModel.
    example_inputs : tensor, sequence or mapping, optional
        What a function without input signature is called with. The first axis is the dynamic
        dimension ``batch`` where all agree on its size.

    Raises
    ------
    ImportFailed
        TensorFlow or tf2onnx is not installed, or the conversion failed; says why.
    InvalidArgument
        There is no such signature; or a function needs example inputs.
    UnsupportedModel
        A frozen graph or a TFLite file.
    """
    if isinstance(source, str | os.PathLike) and not os.path.isdir(source):
        raise UnsupportedModel(f"{source}: only SavedModel folders are imported, no single files")
    tf = require("tensorflow", "tensorflow")
    require("tf2onnx", "tensorflow")
    if isinstance(source, str | os.PathLike):
        return _from_saved_model(tf, os.fspath(source), signature)
    function, together = source, example_inputs is not None
    if isinstance(source, tf.Module) and not hasattr(source, "get_concrete_function"):
        function = getattr(source, "__call__", None)  # noqa: B004
    if hasattr(function, "get_concrete_function"):
        function = _concrete(tf, function, example_inputs)
    if not hasattr(function, "structured_input_signature"):
        raise InvalidArgument(f"a {type(source).__name__} is no tf.function: wrap what it computes")
    what = getattr(source, "name", None) or type(source).__name__
    return convert(tf, function, what, one_batch=together)


def _from_saved_model(tf: Any, path: str, signature: str) -> ir.Model:
    try:
        with quiet():
            module = tf.saved_model.load(path)
    except Exception as error:
        # It also rebuilds optimizers and the like, and fails on those of other versions of Keras.
        with conversion("TensorFlow", path):
            return _from_graph(tf, path, signature, error)
    found = module.signatures
    if signature not in found:
        raise InvalidArgument(f"{path} has no signature {signature!r}, only {sorted(found)}")
    return convert(tf, found[signature], f"{path} ({signature})")


def _from_graph(tf: Any, path: str, signature: str, reason: Exception) -> ir.Model:
    """Freeze the graph of a signature with TensorFlow 1's loader, which reads nothing else."""
    from tf2onnx import convert, tf_loader

    with quiet():
        with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
            found = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
            if signature not in found:
                public = sorted(name for name in found if not name.startswith("__"))
                message = f"{path} has no signature {signature!r}, only {public}"
                raise InvalidArgument(message) from reason
            chosen = found[signature]
            inputs = {chosen.inputs[key].name: key for key in sorted(chosen.inputs)}
            outputs = {chosen.outputs[key].name: key for key in sorted(chosen.outputs)}
            frozen = tf_loader.freeze_session(
                session, input_names=list(inputs), output_names=list(outputs)
            )
        proto, _ = convert.from_graph_def(
            frozen, input_names=list(inputs), output_names=list(outputs), opset=_OPSET
        )
    _name_dimensions(proto, one_batch=False)
    model = from_onnx(proto)
    rename(model, model.graph.inputs, [inputs[str(v.name)] for v in model.graph.inputs])
    rename(model, model.graph.outputs, list(outputs.values()))
    return model


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
    first = [] if batches(tensors) is None else [None]
    return [
        tf.TensorSpec([*first, *tensor.shape[len(first) :]], tensor.dtype, name)
        for tensor, name in zip(tensors, names, strict=True)
    ]


def convert(tf: Any, function: Any, what: str, one_batch: bool = False) -> ir.Model:
    """Convert a concrete function.

    With ``one_batch`` all inputs have the same open first axis; else each has its own.
    """
    args, kwargs = function.structured_input_signature
    flat = [*tf.nest.flatten(args), *(kwargs[name] for name in sorted(kwargs))]
    specs = [spec for spec in flat if isinstance(spec, tf.TensorSpec)]
    named = _distinct([spec.name or f"input_{i}" for i, spec in enumerate(specs)])

    def call(*tensors: Any) -> Any:
        positional = tensors[: len(tensors) - len(kwargs)]
        by_name = dict(zip(sorted(kwargs), tensors[len(positional) :], strict=True))
        packed = tf.nest.pack_sequence_as(args, positional) if positional else ()
        return function(*packed, **by_name)

    signature = [
        tf.TensorSpec(spec.shape, spec.dtype, name) for spec, name in zip(specs, named, strict=True)
    ]
    with conversion("TensorFlow", what), quiet():
        import tf2onnx

        proto, _ = tf2onnx.convert.from_function(tf.function(call), signature, opset=_OPSET)
    _name_dimensions(proto, one_batch)
    model = from_onnx(proto)
    rename(model, model.graph.outputs, _output_names(tf, function.structured_outputs))
    return model


def _name_dimensions(proto: Any, one_batch: bool) -> None:
    """Name the open dimensions of inputs: the first of all is ``batch``."""
    del proto.graph.value_info[:]  # their names for these dimensions are others
    one_batch |= len(proto.graph.input) == 1
    for value in proto.graph.input:
        for axis, dim in enumerate(value.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                batch = one_batch and axis == 0
                dim.dim_param = "batch" if batch else f"{value.name}_{axis}"


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the converter's progress off the terminal."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
