"""Local response normalization across channels, channels last, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer, kernel
from ..simd import (
    fma,
    splat,
    stack_words,
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


@njit
def _power(t: Any, beta: float) -> Any:
    """Compute t ** -beta for positive t."""
    one = splat(_F(1.0))
    if beta == 0.75:
        root = vsqrt(t)
        return one / (root * vsqrt(root))
    if beta == 0.5:
        return one / vsqrt(t)
    if beta == 1.0:
        return one / t
    return vmath.exp(vmath.log(t) * splat(_F(-beta)))


@kernel
def lrn(
    thread: int,
    threads: int,
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

    The sum goes over ``size`` channels, at most ``MARGIN``; pixels are split over the threads.
    """
    squares = stack_words(WORDS)
    zero = splat(_F(0.0))
    before = (size - 1) // 2
    scale, start = splat(_F(alpha / size)), splat(_F(bias))
    for pixel in range(pixels * thread // threads, pixels * (thread + 1) // threads):
        source, target = x + pixel * x_pixel * 4, y + pixel * y_pixel * 4
        for block in range(0, channels, BLOCK):
            count = min(BLOCK, channels - block)
            # Squares of the block and of its neighbours; zero beyond the ends.
            for i in range(0, count + 2 * MARGIN, LANES):
                vstore(squares, i, zero)
            first, last = max(0, block - MARGIN), min(channels, block + count + MARGIN)
            for i in range(first, last, LANES):
                v = vload_first(source, i, last - i)
                vstore_first(squares, i - block + MARGIN, v * v, last - i)
            for i in range(0, count, LANES):
                total = zero
                for j in range(size):
                    total = total + vload(squares, i + MARGIN - before + j)
                v = vload_first(source, block + i, count - i)
                v = v * _power(fma(total, scale, start), beta)
                vstore_first(target, block + i, v, count - i)
    return 0
