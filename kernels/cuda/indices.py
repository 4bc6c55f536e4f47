"""Indices that tensors hold: those below zero count from the end, others outside are refused."""

from __future__ import annotations

from typing import Any

from ..index_errors import code_of_index
from .functions import device_function
from .memory import load_i64, store_i64

_code = device_function("int64")(code_of_index)


@device_function("void")
def refuse(status: Any, index: Any) -> None:
    """Note in a step's status word an index out of range; of several, any one."""
    store_i64(status, 0, _code(index))


@device_function("int64")
def index_within(status: Any, given: Any, size: Any) -> Any:
    """Return an index counted from 0; -1, and a note in the status word, where it is outside."""
    at = given + size if given < 0 else given
    if at < 0 or at >= size:
        refuse(status, given)
        return -1
    return at


@device_function("int64")
def place_of(status: Any, indices: Any, row: Any, depth: Any, sizes: Any, strides: Any) -> Any:
    """Return the distance of an element that a row of ``depth`` indices (int64) names.

    It is -1, and there is a note in the status word, where one of them is outside.
    """
    place, is_inside = 0, True
    for axis in range(depth):
        at = index_within(status, load_i64(indices, row * depth + axis), sizes[axis])
        is_inside = is_inside and at >= 0
        place += at * strides[axis]
    return place if is_inside else -1
