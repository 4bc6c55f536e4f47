"""Rows of arrays of four axes, which elementwise kernels walk through, and shares of them.

A row is the innermost axis, with those before it that all operands walk through evenly.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from .registry import MANY
from .target import LANES


@njit
def even_axes(d1: int, d2: int, s0: int, s1: int, s2: int, step: int) -> Any:
    """How many axes outside the innermost an operand walks through evenly, ``step`` a row."""
    if d2 != 1 and s2 != step:
        return 0
    if d1 != 1 and s1 != step * d2:
        return 1
    return 3 if s0 == step * d2 * d1 else 2


@njit
def merged(d0: int, d1: int, d2: int, d3: int, axes: int) -> Any:
    """Sizes with so many axes taken into the innermost."""
    if axes == 0:
        return d0, d1, d2, d3
    if axes == 1:
        return d0, d1, 1, d2 * d3
    if axes == 2:
        return d0, 1, 1, d1 * d2 * d3
    return 1, 1, 1, d0 * d1 * d2 * d3


@njit
def next_row(i0: int, i1: int, i2: int, d1: int, d2: int) -> Any:
    """Indices of the next row; divisions would cost more than a short row does."""
    if i2 + 1 < d2:
        return i0, i1, i2 + 1
    if i1 + 1 < d1:
        return i0, i1 + 1, 0
    return i0 + 1, 0, 0


@njit
def share(part: int, until: int, parts: int, rows: int, d3: int) -> Any:
    """Rows, and elements of each, of some parts: (first, last, start, stop)."""
    if rows >= MANY or d3 < MANY * LANES:
        return rows * part // parts, rows * until // parts, 0, d3
    chunks = (d3 + LANES - 1) // LANES
    start, stop = chunks * part // parts * LANES, chunks * until // parts * LANES
    return 0, rows if start < d3 else 0, start, min(stop, d3)
