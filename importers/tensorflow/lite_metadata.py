"""Labels and normalization in the metadata of a TensorFlow Lite file.

Files that go with the model, its labels among them, are a zip archive at the end of the file; the
metadata proper are a flatbuffer in one of the model's buffers. The field numbers here are those of
TensorFlow Lite's metadata schema (metadata_schema.fbs, version 1.0).
"""

from __future__ import annotations

import io
import zipfile
from typing import Any

from ..notes import Notes

_BUFFER = b"TFLITE_METADATA"
_SUBGRAPHS, _INPUTS, _UNITS, _OPTIONS_TYPE, _OPTIONS, _MEAN, _STD = 3, 2, 4, 0, 1, 0, 1
_NORMALIZATION = 1


def take_metadata(notes: Notes, data: bytes) -> None:
    """Note the labels and the normalization of the first input, where a file has them."""
    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in archive.namelist() if "label" in name.lower()]
            if len(names) == 1:
                text = archive.read(names[0]).decode(errors="replace")
                notes.labels = [line.strip() for line in text.splitlines() if line.strip()]
    metadata = _metadata(data)
    if metadata is not None:
        notes.mean, notes.std = _normalization(metadata)


def _metadata(data: bytes) -> Any:
    from tf2onnx.tflite.Model import Model

    model = Model.GetRootAsModel(bytearray(data), 0)
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        if entry.Name() == _BUFFER:
            return bytearray(model.Buffers(entry.Buffer()).DataAsNumpy())
    return None


def _normalization(metadata: bytearray) -> tuple[list[float], list[float]]:
    from flatbuffers import encode, number_types, table

    start = encode.Get(number_types.UOffsetTFlags.packer_type, metadata, 0)
    root = table.Table(metadata, start)
    for units in _tables(_first(_first(root, _SUBGRAPHS), _INPUTS), _UNITS):
        kind = units.Offset(4 + 2 * _OPTIONS_TYPE)
        if not kind or metadata[units.Pos + kind] != _NORMALIZATION:
            continue
        options = table.Table(metadata, 0)
        units.Union(options, units.Offset(4 + 2 * _OPTIONS))
        return _floats(options, _MEAN), _floats(options, _STD)
    return [], []


def _tables(holder: Any, field: int) -> list[Any]:
    """Tables of a vector in a field; none where it is absent."""
    offset = 0 if holder is None else holder.Offset(4 + 2 * field)
    if not offset:
        return []
    vector = holder.Vector(offset)
    starts = (holder.Indirect(vector + 4 * i) for i in range(holder.VectorLen(offset)))
    return [type(holder)(holder.Bytes, start) for start in starts]


def _first(holder: Any, field: int) -> Any:
    return next(iter(_tables(holder, field)), None)


def _floats(holder: Any, field: int) -> list[float]:
    from flatbuffers import number_types

    offset = holder.Offset(4 + 2 * field)
    if not offset:
        return []
    vector, kind = holder.Vector(offset), number_types.Float32Flags
    return [float(holder.Get(kind, vector + 4 * i)) for i in range(holder.VectorLen(offset))]
