"""Positions that padding reads, as a plain function that compilers of all devices take."""

from __future__ import annotations

from typing import Any

MODES = ("constant", "reflect", "edge", "wrap")
_CONSTANT, _REFLECT, _EDGE = range(3)
NOWHERE = -1


def source_position(i: int, n: int, mode: int) -> Any:
    """Input position of a position that may lie outside of [0, n); `NOWHERE` for the constant."""
    if 0 <= i < n:
        return i
    if mode == _CONSTANT or n == 0:
        return NOWHERE
    if mode == _EDGE:
        return 0 if i < 0 else n - 1
    if mode == _REFLECT:
        period = max(2 * (n - 1), 1)
        at = i % period
        return period - at if at >= n else at
    return i % n
