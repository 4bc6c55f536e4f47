"""Walks over the axes of a tensor: where the element of a number lies."""

from __future__ import annotations

from typing import Any

from .functions import device_function


@device_function("int64")
def offset_of(number: Any, sizes: Any, strides: Any) -> Any:
    """Return the distance of an element, counted over axes of some sizes, innermost first."""
    rest, offset = number, 0
    for axis in range(len(sizes)):
        if sizes[axis] > 1:  # divisions take long
            offset += rest % sizes[axis] * strides[axis]
            rest = rest // sizes[axis]
    return offset
