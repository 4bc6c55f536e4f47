"""TensorFlow: SavedModel folders, functions and modules; other files go where they are known."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from .checkpoints import restore
from .converter import choose_signature, quiet
from .frameworks import batches, conversion, require
from .frozen_graph import convert_graph, from_frozen_graph
from .notes import Notes
from .tflite import from_tflite

if TYPE_CHECKING:
    import onnx_ir as ir


def from_tensorflow(
    source: Any,
    notes: Notes,
    signature: str | None = None,
    example_inputs: Any = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    checkpoint: Any = None,
) -> ir.Model:
    """Convert a model of TensorFlow in any of its forms.

    Parameters
    ----------
    source
        A SavedModel folder, a ``.tflite`` file or a frozen ``.pb`` file; a ``tf.function``, a
        ``ConcreteFunction`` or a callable ``tf.Module``.
    notes : Notes
        Gets what is learnt besides.
    signature : str, optional
        Which signature of a SavedModel or ``.tflite`` file: ``serving_default``, or the only one,
        by default.
    example_inputs : tensor, sequence or mapping, optional
        What a function without input signature is called with. The first axis is the dynamic
        dimension ``batch`` where all agree on its size.
    inputs, outputs : sequence of str, optional
        Nodes of a frozen graph; see `from_frozen_graph`.
    checkpoint : str or path, optional
        The prefix of a ``tf.train.Checkpoint`` whose values the variables of a module or function
        get; see `restore`.

    Raises
    ------
    ImportFailed
        TensorFlow or tf2onnx is not installed, or the conversion failed; says why.
    InvalidModel
        A file is damaged, or none of its kind.
    InvalidArgument
        There is no such signature, node or checkpoint; a function needs example inputs; or an
        option is not for this form of model.
    UnsupportedModel
        An operator has no counterpart in ONNX.
    """
    is_path = isinstance(source, str | os.PathLike)
    path = os.fspath(source) if is_path else ""
    form = _form(path) if is_path else "function"
    options = {
        "signature": signature,
        "example_inputs": example_inputs,
        "inputs": inputs,
        "outputs": outputs,
        "checkpoint": checkpoint,
    }
    for name, value in options.items():
        if value is not None and name not in _OPTIONS[form]:
            raise InvalidArgument(f"{name}= is not for a {form}, which takes {_OPTIONS[form]}")
    if form == "TensorFlow Lite file":
        return from_tflite(path, notes, signature)
    if form == "frozen graph":
        return from_frozen_graph(path, notes, inputs, outputs)
    tf = require("tensorflow", "tensorflow")
    require("tf2onnx", "tensorflow")
    if form == "SavedModel":
        return _from_saved_model(tf, path, notes, signature)
    return _from_function(tf, source, notes, example_inputs, checkpoint)


_OPTIONS = {
    "SavedModel": ("signature",),
    "TensorFlow Lite file": ("signature",),
    "frozen graph": ("inputs", "outputs"),
    "function": ("example_inputs", "checkpoint"),
}


def _form(path: str) -> str:
    if os.path.isdir(path):
        return "SavedModel"
    is_lite = os.path.splitext(path)[1].lower() == ".tflite"
    return "TensorFlow Lite file" if is_lite else "frozen graph"


def _from_function(
    tf: Any, source: Any, notes: Notes, example_inputs: Any, checkpoint: Any
) -> ir.Model:
    function, together = source, example_inputs is not None
    if isinstance(source, tf.Module) and not hasattr(source, "get_concrete_function"):
        function = getattr(source, "__call__", None)  # noqa: B004
    if hasattr(function, "get_concrete_function"):
        function = _concrete(tf, function, example_inputs)
    if not hasattr(function, "structured_input_signature"):
        raise InvalidArgument(f"a {type(source).__name__} is no tf.function: wrap what it computes")
    if checkpoint is not None:
        restore(tf, source, function.variables, checkpoint)
    what = getattr(source, "name", None) or type(source).__name__
    return convert(tf, function, what, notes, one_batch=together)


def _from_saved_model(tf: Any, path: str, notes: Notes, signature: str | None) -> ir.Model:
    try:
        with quiet():
            module = tf.saved_model.load(path)
    except Exception:
        # It also rebuilds optimizers and the like, and fails on those of other versions of Keras.
        with conversion("TensorFlow", path):
            return _from_graph(tf, path, notes, signature)
    found = module.signatures
    chosen = choose_signature(path, list(found), signature)
    return convert(tf, found[chosen], f"{path} ({chosen})", notes)


def _from_graph(tf: Any, path: str, notes: Notes, signature: str | None) -> ir.Model:
    """Freeze the graph of a signature with TensorFlow 1's loader, which reads nothing else."""
    from tf2onnx import tf_loader

    with quiet(), tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        found = tf.compat.v1.saved_model.load(session, ["serve"], path).signature_def
        chosen = found[choose_signature(path, list(found), signature)]
        inputs = {chosen.inputs[key].name: key for key in sorted(chosen.inputs)}
        outputs = {chosen.outputs[key].name: key for key in sorted(chosen.outputs)}
        frozen = tf_loader.freeze_session(
            session, input_names=list(inputs), output_names=list(outputs)
        )
    return convert_graph(tf, frozen, path, notes, inputs, outputs)


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


def convert(tf: Any, function: Any, what: str, notes: Notes, one_batch: bool = False) -> ir.Model:
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
    from tf2onnx import tf_loader

    with conversion("TensorFlow", what), quiet(), tf.device("/cpu:0"):
        concrete = tf.function(call).get_concrete_function(*signature)
        fed = [value.name for value in concrete.inputs[: len(named)]]  # captures come after
        fetched = [value.name for value in concrete.outputs if value.dtype != tf.resource]
        frozen = tf_loader.from_function(concrete, fed, fetched)
    inputs = dict(zip(fed, named, strict=True))
    outputs = dict(zip(fetched, _output_names(tf, function.structured_outputs), strict=True))
    model = convert_graph(tf, frozen, what, notes, inputs, outputs, one_batch)

    def run(feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        results = concrete(*(tf.constant(feeds[name]) for name in named))
        return [value.numpy() for value in tf.nest.flatten(results) if value.dtype != tf.resource]

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
