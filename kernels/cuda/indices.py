"""Indices that kernels refuse."""

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
