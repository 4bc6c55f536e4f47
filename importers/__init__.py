"""Importers: every source becomes one `onnx_ir.Model` at the canonical opset."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ..errors import InvalidArgument
from ..given_numbers import is_whole
from .importer import Importer
from .keras import KERAS
from .notes import Notes
from .onnx import ONNX, TEXT
from .sklearn import SKLEARN
from .tensorflow import FROZEN_GRAPH, FUNCTION, LITE, SAVED_MODEL
from .torch import TORCH

if TYPE_CHECKING:
    import onnx_ir as ir

IMPORTERS = (ONNX, TEXT, KERAS, TORCH, SAVED_MODEL, LITE, FROZEN_GRAPH, FUNCTION, SKLEARN)
"""The formats, in the order in which they are asked whether a source is theirs.

A Keras model may also be a torch module or a tf.Module, so Keras comes before these.
"""

_PROTOBUF_LIMIT = 2**31 - 2**24  # bytes; leaves room for the graph


def load(source: Any, *, notes: Notes | None = None, **options: Any) -> ir.Model:
    """Import a model of any format.

    Parameters
    ----------
    source
        An ONNX file, its bytes, a ``ModelProto`` or an ``onnx_ir.Model``; one written as text
        (``.textproto``, ``.json``, ``.onnxtxt``); a ``.keras`` or ``.h5`` file or a Keras model;
        a SavedModel folder, a ``.tflite`` file, a frozen ``.pb`` file, a ``tf.function`` or
        ``tf.Module``; an ``nn.Module`` (TorchScript, too) or ``ExportedProgram`` of PyTorch, or a
        ``.pt2``, ``.pt``, ``.pth``, ``.jit`` or ``.ts`` file; a fitted estimator of scikit-learn,
        LightGBM or XGBoost.
    notes : Notes, optional
        Filled in: how to run the source, labels, normalization, parts left out.
    **options
        What the importer takes, such as ``example_inputs=`` for PyTorch.

    Returns
    -------
    onnx_ir.Model
        A new model in standard ONNX at `onnx.opset.CANONICAL_OPSET`. Labels of its classes, and
        mean and standard deviation of its inputs, are in ``metadata_props`` where the source has
        them.

    Raises
    ------
    InvalidArgument
        No importer knows such a source, there is no such file, or the importer has no such option.
    InvalidModel, UnsupportedModel, ImportFailed
        As the importer says.
    """
    _import_onnx_ir()
    return importer_of(source).read(source, notes or Notes(), options)


def _import_onnx_ir() -> None:
    """Import onnx_ir without what few models need; before any other module does it."""
    from .. import onnx_ir_import  # noqa: F401


def importer_of(source: Any) -> Importer:
    """Find the importer by looking at the source, without importing any framework.

    Raises
    ------
    InvalidArgument
        There is none, or no such file.
    """
    if isinstance(source, str | os.PathLike):
        return _importer_of_path(os.fsdecode(source))
    for importer in IMPORTERS:
        if importer.takes_object(source):
            return importer
    kind = type(source)
    raise InvalidArgument(
        f"no importer takes a {kind.__module__}.{kind.__qualname__}; give a path, bytes, a "
        "ModelProto, an onnx_ir.Model, or a PyTorch, TensorFlow, Keras or scikit-learn model"
    )


def _importer_of_path(path: str) -> Importer:
    if not os.path.exists(path):
        raise InvalidArgument(f"there is no file {path}")
    for importer in IMPORTERS:
        if importer.takes_path(path):
            return importer
    if os.path.isdir(path):
        folders = [importer for importer in IMPORTERS if importer.folder_file]
        expected = " and no ".join(f"{each.name} ({each.folder_file})" for each in folders)
        raise InvalidArgument(f"{path} is a folder, but no {expected}")
    return ONNX  # with any other suffix, too


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

    _import_onnx_ir()
    import onnx_ir as ir

    from .onnx.map_types import restore_in_file

    opset = model.graph.opset_imports.get("")
    if target_opset is not None and opset is not None and target_opset != opset:
        if not is_whole(target_opset) or not 1 <= target_opset < opset:
            raise InvalidArgument(f"target_opset is {target_opset}; the model is at {opset}")
        from .onnx.downgrade import downgrade

        model = downgrade(model, target_opset)
    if external_data is None:
        tensors = [value.const_value for value in model.graph.initializers.values()]
        external_data = sum(tensor.nbytes for tensor in tensors if tensor) > _PROTOBUF_LIMIT
    folder, name = os.path.split(os.path.abspath(path))
    data = name + ".data" if external_data else None
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=f".{name}-") as scratch:
            ir.save(model, os.path.join(scratch, name), external_data=data)
            restore_in_file(model, os.path.join(scratch, name))
            for file in (data, name):  # the model last: it refers to the data
                if file is not None and os.path.exists(os.path.join(scratch, file)):
                    os.replace(os.path.join(scratch, file), os.path.join(folder, file))
    except OSError as error:
        raise InvalidArgument(f"{path} cannot be written: {error.strerror}") from error


def to_bytes(source: Any) -> bytes:
    """Serialize whatever `load` takes, as one ONNX file in memory.

    Raises
    ------
    InvalidArgument
        It exceeds the 2 GB that a protobuf can hold.
    """
    _import_onnx_ir()
    import onnx_ir

    from .onnx.map_types import restore_map_types

    proto = onnx_ir.to_proto(load(source))
    restore_map_types(proto)
    try:
        data: bytes = proto.SerializeToString()
    except Exception as error:  # protobuf's own class depends on its backend
        raise InvalidArgument(
            "the model exceeds the 2 GB of one ONNX file; sardonyx.save writes its weights to a "
            "second one"
        ) from error
    return data
