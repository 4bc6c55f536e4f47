"""Error codes of indices out of range, which hold the index; texts of all codes of kernels."""

from __future__ import annotations

from collections.abc import Sequence

from .registry import ERRORS, INDEX_OUT_OF_RANGE

_CODE_BITS = 8
_LARGEST = 1 << 50


def code_of_index(index: int) -> int:
    """Return the error code of an index; of one that a word cannot hold beside it the bare code."""
    if index >= _LARGEST or index <= -_LARGEST:
        return INDEX_OUT_OF_RANGE
    # Codes are above zero: those below tell where a walk goes on.
    return ((index + _LARGEST) << _CODE_BITS) | INDEX_OUT_OF_RANGE


def error_text(code: int, name: str = "", sizes: Sequence[int] = (), from_end: bool = False) -> str:
    """Return what an error code says.

    Parameters
    ----------
    code : int
    name : str
        The tensor of an index.
    sizes : sequence of int
        What an index is below, of each axis that indices are places on.
    from_end : bool
        Whether indices below zero count from the end.
    """
    kind, held = code & ((1 << _CODE_BITS) - 1), code >> _CODE_BITS
    if kind != INDEX_OUT_OF_RANGE:
        return ERRORS.get(code, f"error {code}")
    text = f"index {held - _LARGEST} out of range" if held else ERRORS[kind]
    if not sizes:
        return text
    ranges = [f"{-size if from_end else 0} to {size - 1}" if size > 0 else "none" for size in sizes]
    if len(ranges) > 1:
        ranges = [f"{each} on axis {axis}" for axis, each in enumerate(ranges)]
    return f"{text} in {name!r}: expected {', '.join(ranges)}"
