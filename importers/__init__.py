"""Importers: every source becomes one `onnx_ir.Model` at the canonical opset."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument, UnsupportedModel
from .notes import Notes

if TYPE_CHECKING:
    import onnx_ir as ir

CANONICAL_OPSET = 24
"""The newest opset of which onnxruntime 1.32 runs everything it runs of older ones.

(From 25 on it lacks Swish.) It has LayerNormalization, Gelu, RMSNormalization, RotaryEmbedding,
Attention and Swish as standard operators.
"""

_PROTOBUF_LIMIT = 2**31 - 2**24  # bytes; leaves room for the graph
_KERAS_FILES = (".keras", ".h5", ".hdf5")
_TORCH_FILES = (".pt2", ".pt", ".pth", ".jit", ".ts")


def load(source: Any, *, notes: Notes | None = None, **options: Any) -> ir.Model:
    """Import a model from whatever it comes in.

    Parameters
    ----------
    source
        An ONNX file, its bytes, a ``ModelProto`` or an ``onnx_ir.Model``; a ``.keras`` or ``.h5``
        file or a Keras model; a SavedModel folder, a ``.tflite`` file, a frozen ``.pb`` file, a
        ``tf.function`` or ``tf.Module``; an ``nn.Module`` (TorchScript, too) or ``ExportedProgram``
        of PyTorch, or a ``.pt2``, ``.pt``, ``.pth``, ``.jit`` or ``.ts`` file.
    notes : Notes, optional
        Gets what is learnt of the source besides: how to run it, what was dropped.
    **options
        What the importer takes, such as ``example_inputs=`` for PyTorch.

    Returns
    -------
    onnx_ir.Model
        A new model in standard ONNX at `CANONICAL_OPSET`. Labels of its classes, and mean and
        standard deviation of its inputs, are in ``metadata_props`` where the source has them.

    Raises
    ------
    InvalidArgument
        No importer knows such a source, or there is no such file.
    InvalidModel, UnsupportedModel, ImportFailed
        As the importer says.
    """
    importer = importer_of(source)
    try:
        module = importlib.import_module(f".{importer}", __name__)
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{importer}":
            raise
        raise UnsupportedModel(
            f"models of {importer} cannot be imported yet; export {source!r} to ONNX first"
        ) from error
    model: ir.Model
    if importer == "onnx":
        model = module.from_onnx(source, **options)
        return model
    notes = notes or Notes()
    model = getattr(module, f"from_{importer}")(source, notes, **options)
    notes.write(model)
    return model


def importer_of(source: Any) -> str:
    """Name the importer by looking at the source, without importing any framework."""
    if isinstance(source, str | os.PathLike):
        return _importer_of_path(os.fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return "onnx"
    packages = [kind.__module__.partition(".")[0] for kind in type(source).__mro__]
    # A Keras model may also be a torch module or a tf.Module, so Keras is asked first.
    for package, importer in (
        ("onnx", "onnx"),
        ("onnx_ir", "onnx"),
        ("keras", "keras"),
        ("tf_keras", "keras"),
        ("torch", "torch"),
        ("tensorflow", "tensorflow"),
    ):
        if package in packages:
            return importer
    kind = type(source)
    raise InvalidArgument(
        f"no importer takes a {kind.__module__}.{kind.__qualname__}; give a path, bytes, a "
        "ModelProto, an onnx_ir.Model, or a PyTorch, TensorFlow or Keras model"
    )


def _importer_of_path(path: str | bytes) -> str:
    path = os.fsdecode(path)
    if os.path.isdir(path):
        if os.path.exists(os.path.join(path, "saved_model.pb")):
            return "tensorflow"
        raise InvalidArgument(f"{path} is a folder, but no SavedModel (it has no saved_model.pb)")
    if not os.path.exists(path):
        raise InvalidArgument(f"there is no file {path}")
    ending = os.path.splitext(path)[1].lower()
    if ending in _KERAS_FILES:
        return "keras"
    if ending in (".pb", ".tflite"):
        return "tensorflow"
    return "torch" if ending in _TORCH_FILES else "onnx"


def save(
    model: ir.Model,
    path: str | os.PathLike[str],
    target_opset: int | None = None,
    external_data: bool | None = None,
) -> None:
    """Write a model as ONNX.

    A file that is there already is replaced at once, never written into: a reader sees the old
    model or the new one, and models loaded from the old file keep their weights.

    Parameters
    ----------
    model
        What to write. It is left as it is.
    path
        The file. Its folder must exist.
    target_opset
        An older opset for older consumers: newer operators are written as their definitions by
        simpler ones.
    external_data
        Whether the weights go into a file of their own, ``path`` + ".data". By default they do
        when the model would exceed the 2 GB that a protobuf can hold.

    Raises
    ------
    InvalidArgument
        The file cannot be written, or `target_opset` is newer than the model's opset.
    UnsupportedModel
        `target_opset` cannot express an operator; the message names it.
    """
    import tempfile

    import onnx_ir as ir

    opset = model.graph.opset_imports.get("")
    if target_opset is not None and opset is not None and target_opset != opset:
        if not 1 <= target_opset < opset:
            raise InvalidArgument(f"target_opset is {target_opset}; the model is at {opset}")
        from .downgrade import downgrade

        model = downgrade(model, target_opset)
    if external_data is None:
        tensors = [value.const_value for value in model.graph.initializers.values()]
        external_data = sum(tensor.nbytes for tensor in tensors if tensor) > _PROTOBUF_LIMIT
    folder, name = os.path.split(os.path.abspath(path))
    data = name + ".data" if external_data else None
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
            ir.save(model, os.path.join(scratch, name), external_data=data)
            for file in (data, name):  # the model last: it refers to the data
                if file is not None and os.path.exists(os.path.join(scratch, file)):
                    os.replace(os.path.join(scratch, file), os.path.join(folder, file))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}") from error


def to_bytes(source: Any) -> bytes:
    """Serialize whatever `load` takes, as one ONNX file in memory."""
    import onnx_ir

    data: bytes = onnx_ir.to_proto(load(source)).SerializeToString()
    return data
