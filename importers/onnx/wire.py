"""Wire format of ONNX files: large weights become external data of the file, without being parsed.

Protobuf parsers copy every weight, need it all in memory, and stop at 2 GB. But the wire format is
simple enough to walk: skip from field to field, and where a large tensor holds its values,
leave in the graph only a reference (the ``external_data`` of ONNX) to the bytes of the file that
hold them. The graph is then small whatever the model's size, and the weights stay in the
(memory-mapped) file. Format: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any

from ...errors import InvalidModel, UnreadableModel

SAME_FILE = "\0same file"
"""The ``location`` of external data that means: in the bytes of the model itself."""

SMALL_TENSOR = 1024
"""Tensors of at most so many bytes stay in the graph: shapes, axes, scalars."""

_MAX_DEPTH = 100  # protobuf's own limit on nesting

# Which fields of a message hold messages that may hold tensors (field numbers of onnx.proto).
_Fields = dict[int, Any]
_TENSOR: _Fields = {}
_ATTRIBUTE: _Fields = {5: _TENSOR, 10: _TENSOR}
_NODE: _Fields = {5: _ATTRIBUTE}
_GRAPH: _Fields = {1: _NODE, 5: _TENSOR}
_ATTRIBUTE |= {6: _GRAPH, 11: _GRAPH}
_MODEL: _Fields = {7: _GRAPH, 25: {7: _NODE}}

# Fields of a tensor whose packed form is the little-endian array: float_data, raw_data, double_data
_DATA = (4, 9, 10)
_EXTERNAL_DATA = 13
_LENGTH_DELIMITED = 2

_LOCATION = b"location"
"""Key of the entry of external data that names the file."""


def externalize_weights(data: bytes | bytearray | memoryview | mmap.mmap) -> bytes:
    """Rewrite a serialized ModelProto so that large tensors refer to their bytes in `data`.

    Parameters
    ----------
    data
        A serialized ModelProto, of any size.

    Returns
    -------
    bytes
        A serialized ModelProto in which tensors of more than `SMALL_TENSOR` bytes have external
        data at location `SAME_FILE`.

    Raises
    ------
    InvalidModel, UnreadableModel
        If the bytes do not follow the wire format, for example because they are cut off.
    """
    view = memoryview(data).cast("B")
    return _externalize(view, 0, len(view), _MODEL, 0)


def external_locations(data: bytes | mmap.mmap) -> set[str]:
    """Names of the files of external data that a serialized ModelProto refers to.

    Parameters
    ----------
    data
        A serialized ModelProto, of any size.

    Returns
    -------
    set of str
        Every value that may be a location, in whatever order an entry's fields are written.

    Raises
    ------
    InvalidModel, UnreadableModel
        As `externalize_weights`.
    """
    if data.find(_LOCATION) < 0:  # most models: nothing to walk through
        return set()
    view = memoryview(data)
    return set(_locations(view, 0, len(view), _MODEL, 0))


def _locations(
    view: memoryview, start: int, end: int, fields: _Fields, depth: int
) -> Iterator[str]:
    if depth > _MAX_DEPTH:
        raise InvalidModel(f"the model nests graphs more than {_MAX_DEPTH} levels deep")
    for number, _, begin, stop in _walk(view, start, end):
        if fields is _TENSOR and number == _EXTERNAL_DATA:
            entry = [(key, bytes(view[a:b])) for key, _, a, b in _walk(view, begin, stop)]
            if (1, _LOCATION) in entry:
                yield from (value.decode(errors="replace") for key, value in entry if key == 2)
        elif number in fields:
            yield from _locations(view, begin, stop, fields[number], depth + 1)


def _externalize(view: memoryview, start: int, end: int, fields: _Fields, depth: int) -> bytes:
    if depth > _MAX_DEPTH:
        raise InvalidModel(f"the model nests graphs more than {_MAX_DEPTH} levels deep")
    if fields is _TENSOR:
        return _externalize_tensor(view, start, end)
    parts: list[bytes | memoryview] = []
    copied = start
    for number, at, begin, stop in _walk(view, start, end):
        inner = fields.get(number)
        if inner is None or stop - begin <= SMALL_TENSOR:
            continue
        message = _externalize(view, begin, stop, inner, depth + 1)
        parts += [view[copied:at], _delimited(number, message)]
        copied = stop
    parts.append(view[copied:end])
    return b"".join(parts)


def _externalize_tensor(view: memoryview, start: int, end: int) -> bytes:
    data = [field for field in _walk(view, start, end) if field[0] in _DATA]
    if len(data) != 1:  # integers as varints, or values in several pieces: left to the parser
        return bytes(view[start:end])
    ((_, at, begin, stop),) = data
    reference = {"location": SAME_FILE, "offset": str(begin), "length": str(stop - begin)}
    entries = (
        _delimited(1, key.encode()) + _delimited(2, value.encode())
        for key, value in reference.items()
    )
    external = (
        b"".join(_delimited(_EXTERNAL_DATA, entry) for entry in entries) + b"\x70\x01"
    )  # data_location
    return b"".join((view[start:at], view[stop:end], external))


def _walk(view: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, position, and begin and end of the payload of each length-delimited field."""
    at = start
    while at < end:
        key, position = _varint(view, at, end)
        kind = key & 7
        if kind == _LENGTH_DELIMITED:
            length, begin = _varint(view, position, end)
            position = begin + length
            if position <= end:
                yield key >> 3, at, begin, position
        elif kind == 0:
            _, position = _varint(view, position, end)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise UnreadableModel(f"not an ONNX model: byte {at} starts no protobuf field")
        if position > end:
            raise UnreadableModel(
                f"the model is truncated or damaged: the field at byte {at} ends at byte "
                f"{position}, but its message ends at byte {end}"
            )
        at = position


def _varint(view: memoryview, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    for position in range(at, min(end, at + 10)):
        byte = view[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise UnreadableModel(f"the model is truncated or damaged: no whole number at byte {at}")


def _delimited(number: int, payload: bytes) -> bytes:
    key, length = number << 3 | _LENGTH_DELIMITED, len(payload)
    head = bytearray()
    for value in (key, length):
        while value >= 0x80:
            head.append(value & 0x7F | 0x80)
            value >>= 7
        head.append(value)
    return bytes(head) + payload
