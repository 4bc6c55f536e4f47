"""Error codes of indices out of range, which hold the index; texts of all codes of kernels."""

from __future__ import annotations

from .registry import ERRORS, INDEX_OUT_OF_RANGE

_CODE_BITS = 8
_LARGEST = 1 << 50


def code_of_index(index: int) -> int:
    """Return the error code of an index; of one that a word cannot hold beside it the bare code."""
    if index >= _LARGEST or index <= -_LARGEST:
        return INDEX_OUT_OF_RANGE
    # Codes are above zero: those below tell where a walk goes on.
    return ((index + _LARGEST) << _CODE_BITS) | INDEX_OUT_OF_RANGE


def error_text(code: int) -> str:
    """Return what an error code says."""
    kind, held = code & ((1 << _CODE_BITS) - 1), code >> _CODE_BITS
    if held and kind == INDEX_OUT_OF_RANGE:
        return f"index {held - _LARGEST} out of range"
    return ERRORS.get(code, f"error {code}")
