"""Local response normalization across channels, channels last, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer, kernel
from ..simd import (
    any_lane,
    as_f32,
    as_i32,
    fma,
    splat,
    splat_i32,
    stack_words,
    unordered,
    vload,
    vload_first,
    vsqrt,
    vstore,
    vstore_first,
)
from ..target import LANES

_F = np.float32
# Channels handled at once; their squares lie on the stack between two margins.
BLOCK = 2048
MARGIN = 128
WORDS = (BLOCK + 2 * MARGIN) // 2
# Bits of 1.0, five quarters of them: t ** -0.25 has a quarter of t's exponent, negated. The small
# part evens out the error of taking the mantissa for a logarithm.
_GUESS = 0x3F800000 // 4 * 5 - 0x50000


@njit
def _three_quarters(t: Any) -> Any:
    """Compute t ** -0.75 by Newton's method for t ** -0.25, where roots and a division take longer.

    From the first guess of a bit trick (at most 4 % off) three steps reach 2e-7.
    """
    least, most = splat(_F(1e-30)), splat(_F(1e30))
    if any_lane(t < least) or any_lane(unordered(t, t)) or any_lane(t > most):
        root = vsqrt(t)
        return splat(_F(1.0)) / (root * vsqrt(root))
    y = as_f32(splat_i32(np.int32(_GUESS)) - (as_i32(t) >> splat_i32(np.int32(2))))
    quarter = t * splat(_F(-0.25))
    for _ in range(3):
        square = y * y
        y = y * fma(quarter * square, square, splat(_F(1.25)))
    return y * y * y


@njit
def _power(t: Any, beta: float) -> Any:
    """Compute t ** -beta for positive t."""
    one = splat(_F(1.0))
    if beta == 0.75:
        return _three_quarters(t)
    if beta == 0.5:
        return one / vsqrt(t)
    if beta == 1.0:
        return one / t
    return vmath.exp(vmath.log(t) * splat(_F(-beta)))


@njit
def _square(source: Pointer, squares: Pointer, channels: int) -> None:
    i = 0
    while i + LANES <= channels:
        v = vload(source, i)
        vstore(squares, i, v * v)
        i += LANES
    if i < channels:
        v = vload_first(source, i, channels - i)
        vstore_first(squares, i, v * v, channels - i)


@njit
def _normalize(
    source: Pointer, target: Pointer, squares: Pointer, channels: int, size: int, scale: Any,
    start: Any, beta: float,
) -> None:  # fmt: skip
    """Divide channels; the squares of the first one's neighbours begin at ``squares``."""
    for i in range(0, channels, LANES):
        total = vload(squares, i)
        for j in range(1, size):
            total = total + vload(squares, i + j)
        factor = _power(fma(total, scale, start), beta)
        if i + LANES <= channels:
            vstore(target, i, vload(source, i) * factor)
        else:
            v = vload_first(source, i, channels - i)
            vstore_first(target, i, v * factor, channels - i)


@njit
def _in_blocks(
    squares: Pointer, source: Pointer, target: Pointer, channels: int, size: int, before: int,
    scale: Any, start: Any, beta: float,
) -> None:  # fmt: skip
    """Normalize a pixel of more channels than the buffer holds."""
    for block in range(0, channels, BLOCK):
        count = min(BLOCK, channels - block)
        # Squares of the block and of its neighbours; zero beyond the ends.
        for i in range(0, count + 2 * MARGIN, LANES):
            vstore(squares, i, splat(_F(0.0)))
        first, last = max(0, block - MARGIN), min(channels, block + count + MARGIN)
        _square(source + first * 4, squares + (first - block + MARGIN) * 4, last - first)
        _normalize(
            source + block * 4, target + block * 4, squares + (MARGIN - before) * 4, count, size,
            scale, start, beta,
        )  # fmt: skip


@kernel
def lrn(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    y: Pointer,
    pixels: int,
    channels: int,
    x_pixel: int,
    y_pixel: int,
    size: int,
    alpha: float,
    beta: float,
    bias: float,
) -> int:
    """Divide by (bias + alpha / size * sum of squares of neighbouring channels) ** beta.

    The sum goes over ``size`` channels, at most ``MARGIN``; pixels are split into parts.
    """
    squares = stack_words(WORDS)
    for i in range(0, 2 * WORDS, LANES):
        vstore(squares, i, splat(_F(0.0)))
    before = (size - 1) // 2
    scale, start = splat(_F(alpha / size)), splat(_F(bias))
    # Pixels lie in the buffer between margins of zeros, so far as a sum reaches.
    margin = (size + LANES - 1) // LANES * LANES
    room = (channels + LANES - 1) // LANES * LANES + margin
    first, last = pixels * part // parts, pixels * until // parts
    together = (2 * WORDS - 2 * margin) // room
    if together == 0:
        for pixel in range(first, last):
            _in_blocks(
                squares, x + pixel * x_pixel * 4, y + pixel * y_pixel * 4, channels, size, before,
                scale, start, beta,
            )  # fmt: skip
        return 0
    # Squares of several pixels first: a sum reads them across the vectors they were written in,
    # which must wait until they have reached the cache.
    while first < last:
        count = min(together, last - first)
        for pixel in range(count):
            at = squares + (pixel * room + margin) * 4
            _square(x + (first + pixel) * x_pixel * 4, at, channels)
        for pixel in range(count):
            _normalize(
                x + (first + pixel) * x_pixel * 4, y + (first + pixel) * y_pixel * 4,
                squares + (pixel * room + margin - before) * 4, channels, size, scale, start, beta,
            )  # fmt: skip
        first += count
    return 0
