"""Range of the numbers of a tensor, and the scale and zero point that follow from it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..abi import EXTREME_PIECES as PIECES
from ..registry import Pointer, kernel
from ..simd import (
    load_f32,
    load_i32,
    reduce_max,
    reduce_min,
    splat,
    store_f32,
    store_u8,
    vload,
    vmax,
    vmin,
)
from ..target import LANES

_F0 = np.float32(0.0)


@kernel
def extremes(
    thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, n: int,
    lengths: Pointer, sequences: int, steps: int,
) -> int:  # fmt: skip
    """Find least and largest number, or 0, of each of ``PIECES`` pieces of n dense float32.

    Where there are ``lengths`` of sequences (int32; 0: none), of which the longest would have
    ``steps``, only as many steps of the numbers count as the longest has.
    """
    if lengths != 0:
        longest = 0
        for i in range(sequences):
            longest = max(longest, load_i32(lengths, i))
        n = n // max(1, steps) * min(longest, steps)
    for piece in range(PIECES * part // parts, PIECES * until // parts):
        begin, end = n * piece // PIECES, n * (piece + 1) // PIECES
        low, high = splat(_F0), splat(_F0)
        i = begin
        while i + LANES <= end:
            value = vload(x, i)
            low, high = vmin(value, low), vmax(value, high)
            i += LANES
        least, most = reduce_min(low), reduce_max(high)
        while i < end:
            number = load_f32(x, i)
            least, most = min(least, number), max(most, number)
            i += 1
        store_f32(y, 2 * piece, least)
        store_f32(y, 2 * piece + 1, most)
    return 0


@njit(error_model="numpy")
def scale_of(least: Any, most: Any) -> Any:
    """Scale and zero point (both float32) of bytes for numbers of a range that has 0."""
    step = np.float32(1.0) if most == least else (most - least) / np.float32(255.0)
    point = np.rint(-least / step)
    return step, max(_F0, min(np.float32(255.0), point))


@kernel
def scale_and_zero(
    thread: int, part: int, until: int, parts: int, x: Pointer, scale: Pointer, zero: Pointer
) -> int:  # fmt: skip
    """Give scale (float32) and zero point (uint8) for the extremes of all pieces."""
    if part > 0:
        return 0
    least, most = _F0, _F0
    for piece in range(PIECES):
        least = min(least, load_f32(x, 2 * piece))
        most = max(most, load_f32(x, 2 * piece + 1))
    step, point = scale_of(least, most)
    store_f32(scale, 0, step)
    store_u8(zero, 0, np.uint8(point))
    return 0
