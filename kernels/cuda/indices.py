"""Indices that tensors hold: those below zero count from the end, others outside are refused."""

from __future__ import annotations

from typing import Any

from ..index_errors import code_of_index
from .functions import device_function
from .memory import store_i64

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
