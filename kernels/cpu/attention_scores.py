"""Scores of attention, a vector at a time: caps, masks, maxima and exponentials.

Lanes are queries of one key, or keys of one query.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from .. import vmath
from ..registry import Pointer
from ..simd import splat, vload, vload_first, vmax, vstore, vstore_first
from ..target import LANES
from ..vmath import c


@njit
def padded(count: int) -> int:
    """Elements of whole vectors."""
    return (count + LANES - 1) // LANES * LANES


@njit
def copy_row(source: Pointer, target: Pointer, count: int) -> None:
    """Copy contiguous float32, with zeros after them up to a whole vector."""
    for i in range(0, count, LANES):
        vstore(target, i, vload_first(source, i, count - i))


@njit
def copy_out(source: Pointer, target: Pointer, count: int) -> None:
    """Copy contiguous float32."""
    for i in range(0, count, LANES):
        vstore_first(target, i, vload(source, i), count - i)


@njit
def cap_scores(s: Pointer, count: int, cap: Any) -> None:
    """Bound scores smoothly: cap tanh(s / cap)."""
    factor = splat(cap)
    for i in range(0, count, LANES):
        vstore(s, i, vmath.tanh(vload(s, i) / factor) * factor)


@njit
def add_to_scores(s: Pointer, bias: Pointer, count: int) -> None:
    """Add numbers that lie as the scores do."""
    for i in range(0, count, LANES):
        vstore(s, i, vload(s, i) + vload(bias, i))


@njit
def highest(s: Pointer, count: int, a: Any, b: Any) -> Any:
    """Maxima of vectors with even numbers, and of ``a``; of those with odd ones, and of ``b``."""
    i = 0
    while i + 2 * LANES <= count:
        a, b = vmax(a, vload(s, i)), vmax(b, vload(s, i + LANES))
        i += 2 * LANES
    if i < count:
        a = vmax(a, vload(s, i))
    return a, b


@njit
def exponentials(s: Pointer, count: int, a: Any, b: Any) -> Any:
    """Replace scores by exp(s - a) in vectors with even numbers, else exp(s - b); return sums."""
    even, odd = c(0.0), c(0.0)
    i = 0
    while i + 2 * LANES <= count:
        e = vmath.exp_below_one(vload(s, i) - a)
        f = vmath.exp_below_one(vload(s, i + LANES) - b)
        vstore(s, i, e)
        vstore(s, i + LANES, f)
        even, odd = even + e, odd + f
        i += 2 * LANES
    if i < count:
        e = vmath.exp_below_one(vload(s, i) - a)
        vstore(s, i, e)
        even = even + e
    return even, odd


@njit
def scale_lanes(o: Pointer, count: int, a: Any, b: Any) -> None:
    """Multiply vectors with even numbers by ``a``, those with odd ones by ``b``."""
    i = 0
    while i + 2 * LANES <= count:
        vstore(o, i, vload(o, i) * a)
        vstore(o, i + LANES, vload(o, i + LANES) * b)
        i += 2 * LANES
    if i < count:
        vstore(o, i, vload(o, i) * a)
