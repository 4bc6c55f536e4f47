"""Tensors of requests and responses, as JSON and as bytes.

The forms are those of the Open Inference Protocol (KServe, "Predict Protocol - Version 2") and of
its extension for binary tensors. Nothing is allocated by what a request declares: the data that
came must have the declared size.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np

from .element_types import BYTES, dtype
from .refusals import BAD_REQUEST, NOT_ACCEPTABLE, Refusal

_MOST_DIMENSIONS = 64  # numpy's


def checked_shape(name: str, shape: Any) -> tuple[int, ...]:
    """Return the shape that a request declares for a tensor.

    Raises
    ------
    Refusal
        It is no list of sizes.
    """
    is_list = isinstance(shape, list) and len(shape) <= _MOST_DIMENSIONS
    if not is_list or not all(type(size) is int and 0 <= size < 1 << 63 for size in shape):
        raise _bad(name, f"'shape' must be a list of at most {_MOST_DIMENSIONS} sizes", shape)
    return tuple(shape)


def from_json(name: str, datatype: str, shape: tuple[int, ...], data: Any) -> np.ndarray:
    """Return the array of a tensor whose elements are JSON: in one list, or nested.

    Raises
    ------
    Refusal
        The elements are not of the type, out of its range, or not as many as the shape says.
    """
    if not isinstance(data, list):
        raise _bad(name, "'data' must be a list", data)
    try:
        given = np.asarray(data, dtype=object if datatype == BYTES else None)
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise _bad(name, "the lists in 'data' differ in length") from None
    array = _strings(name, given) if datatype == BYTES else _numbers(name, datatype, given, data)
    if given.ndim > 1 and given.shape != shape:
        raise _bad(name, f"'data' has shape {list(given.shape)}, 'shape' is {list(shape)}")
    if given.size != math.prod(shape):
        raise _bad(
            name, f"shape {list(shape)} has {math.prod(shape)} elements, 'data' has {given.size}"
        )
    return _reshaped(name, array, shape)


def _strings(name: str, given: np.ndarray) -> np.ndarray:
    if not all(isinstance(each, str) for each in given.flat):
        raise _bad(name, "elements of BYTES must be strings")
    return given


def _numbers(name: str, datatype: str, given: np.ndarray, data: list[Any]) -> np.ndarray:
    wanted = dtype(datatype)
    if not given.size:
        return given.astype(wanted)
    kind = given.dtype.kind
    if datatype == "BOOL":
        if kind != "b" and not (kind in "iu" and ((given == 0) | (given == 1)).all()):
            raise _bad(name, "elements of BOOL must be true or false")
        return given.astype(wanted)
    if datatype.startswith(("INT", "UINT")):
        if datatype == "UINT64" and kind == "f":  # numpy makes that of small and large ones
            given = _unsigned(data)
            kind = given.dtype.kind
        if kind not in "iu":
            raise _bad(name, f"elements of {datatype} must be integers of 64 bits at most")
        limits = np.iinfo(wanted)
        if int(given.min()) < limits.min or int(given.max()) > limits.max:
            raise _bad(name, f"elements of {datatype} lie within {limits.min} to {limits.max}")
        return given.astype(wanted)
    if kind not in "iuf":
        raise _bad(name, f"elements of {datatype} must be numbers")
    with np.errstate(over="ignore"):
        array = given.astype(wanted)
    if not np.isfinite(array).all():
        raise _bad(name, f"an element is beyond the range of {datatype}")
    return array


def _unsigned(data: list[Any]) -> np.ndarray:
    """Return integers of which some are beyond int64; an array of objects if they are no such."""
    given = np.asarray(data, dtype=object)
    if all(type(each) is int and 0 <= each < 1 << 64 for each in given.flat):
        return given.astype(np.uint64)
    return given


def from_bytes(name: str, datatype: str, shape: tuple[int, ...], data: memoryview) -> np.ndarray:
    """Return the array of a binary tensor; it is a view of the data but for ``BYTES``.

    Raises
    ------
    Refusal
        The data have another size than the shape and the type say.
    """
    if datatype == BYTES:
        return _reshaped(name, _read_strings(name, math.prod(shape), data), shape)
    wanted = dtype(datatype)
    size = math.prod(shape) * wanted.itemsize
    if size != len(data):
        raise _bad(
            name, f"{datatype} of shape {list(shape)} takes {size} bytes, {len(data)} were given"
        )
    return _reshaped(name, np.frombuffer(data, wanted), shape)


def _read_strings(name: str, count: int, data: memoryview) -> np.ndarray:
    if count > len(data) // 4:  # each has four bytes of length
        raise _bad(name, f"{count} strings do not fit in {len(data)} bytes")
    array = np.empty(count, object)
    place = 0
    for index in range(count):
        begin = place + 4
        if begin > len(data):
            raise _bad(name, f"the data end before string {index} of {count}")
        place = begin + struct.unpack_from("<I", data, place)[0]
        if place > len(data):
            raise _bad(name, f"string {index} goes beyond the data, which have {len(data)} bytes")
        try:
            array[index] = str(data[begin:place], "utf-8")
        except UnicodeDecodeError:
            raise _bad(name, f"string {index} is not UTF-8") from None
    if place != len(data):
        raise _bad(name, f"{len(data) - place} bytes are left behind {count} strings")
    return array


def _reshaped(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError):  # no elements, and sizes beyond what numpy counts
        raise _bad(name, "'shape' is too large", list(shape)) from None


def to_bytes(array: np.ndarray, datatype: str) -> bytes | memoryview:
    """Return the binary form of a tensor."""
    if datatype != BYTES:
        return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
    pieces: list[bytes] = []
    for each in array.flat:
        text = each if isinstance(each, bytes) else str(each).encode()
        pieces += (struct.pack("<I", len(text)), text)
    return b"".join(pieces)


def to_json(name: str, array: np.ndarray, datatype: str) -> np.ndarray | list[Any]:
    """Return the elements of a tensor in one list, or an array that `orjson` writes as one.

    Raises
    ------
    Refusal
        JSON cannot hold them.
    """
    if datatype == BYTES:
        return [each.decode() if isinstance(each, bytes) else str(each) for each in array.flat]
    if datatype in ("FP16", "BF16"):
        array = array.astype(np.float32)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Refusal(
            NOT_ACCEPTABLE,
            f"output {name!r} holds NaN or infinities, which JSON has not: ask for binary data",
        )
    return np.ascontiguousarray(array).reshape(-1)


def _bad(name: str, reason: str, got: Any = None) -> Refusal:
    told = "" if got is None else f", not {str(got)[:100]}"
    return Refusal(BAD_REQUEST, f"input {name!r}: {reason}{told}")
