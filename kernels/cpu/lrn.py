"""Local response normalization across channels, channels last: of float32, or between bytes.

Bytes are numbers of a grid, whose squares are whole; sums of up to ``MARGIN`` of them are exact. As
they are bounded, so is what the power is taken of, often so closely that a polynomial of low degree
gives it (`runtime.ops.lrn`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer, kernel_factory
from ..simd import (
    any_lane,
    as_f32,
    as_i32,
    fma,
    load_f32,
    splat,
    splat_i32,
    stack_words,
    unordered,
    vload,
    vmax,
    vmin,
    vrint,
    vsqrt,
    vstore,
    vstore_first,
)
from ..target import LANES
from ..vector_memory import ITEM_BYTES, VECTOR_MEMORY

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


def _bytes_of(result: str) -> Any:
    """Return what makes numbers of a grid bytes: rounded, with its zero point, limited."""
    limits = np.iinfo(np.int8 if result == "i8" else np.uint8)
    least, most = _F(limits.min), _F(limits.max)

    @njit
    def finished(value: Any, ratio: Any, point: Any) -> Any:
        return vmin(vmax(vrint(value * ratio) + point, splat(least)), splat(most))

    return finished


def _polynomial(degree: int) -> Any:
    """Return what computes a power by a polynomial, whose coefficients begin with the highest."""

    @njit
    def power(t: Any, beta: float, coefficients: Pointer) -> Any:
        value = splat(load_f32(coefficients, 0))
        for i in range(1, degree + 1):
            value = fma(value, t, splat(load_f32(coefficients, i)))
        return value

    return power


@njit
def _any_power(t: Any, beta: float, coefficients: Pointer) -> Any:
    return _power(t, beta)


@njit
def _unchanged(value: Any, ratio: Any, point: Any) -> Any:
    return value


@njit
def _same(value: Any, zero: Any) -> Any:
    return value


@njit
def _difference(value: Any, zero: Any) -> Any:
    return value - zero


@kernel_factory
def lrn(dtype: str = "f32", result: str = "f32", degree: int = 0) -> Callable[..., int]:
    """Build the normalization of float32, or of ``"i8"`` or ``"u8"`` as either.

    The power is that of a polynomial, unless its ``degree`` is 0.
    """
    load, _, load_first, _ = VECTOR_MEMORY[dtype]
    _, store, _, store_first = VECTOR_MEMORY[result]
    item, own = ITEM_BYTES[dtype], ITEM_BYTES[result]
    power = _polynomial(degree) if degree else _any_power
    finished = _unchanged if result == "f32" else _bytes_of(result)
    number = _same if dtype == "f32" else _difference

    @njit
    def square(source: Pointer, squares: Pointer, channels: int, zero: Any) -> None:
        i = 0
        while i + LANES <= channels:
            v = number(load(source, i), zero)
            vstore(squares, i, v * v)
            i += LANES
        if i < channels:
            v = number(load_first(source, i, channels - i), zero)
            vstore_first(squares, i, v * v, channels - i)

    @njit
    def normalize(
        source: Pointer, target: Pointer, squares: Pointer, channels: int, size: int, scale: Any,
        start: Any, beta: float, coefficients: Pointer, zero: Any, ratio: Any, point: Any,
    ) -> None:  # fmt: skip
        """Divide channels; the squares of the first one's neighbours begin at ``squares``."""
        for i in range(0, channels, LANES):
            total = vload(squares, i)
            for j in range(1, size):
                total = total + vload(squares, i + j)
            factor = power(fma(total, scale, start), beta, coefficients)
            if i + LANES <= channels:
                v = number(load(source, i), zero) * factor
                store(target, i, finished(v, ratio, point))
            else:
                v = number(load_first(source, i, channels - i), zero) * factor
                store_first(target, i, finished(v, ratio, point), channels - i)

    @njit
    def in_blocks(
        squares: Pointer, source: Pointer, target: Pointer, channels: int, size: int, before: int,
        scale: Any, start: Any, beta: float, coefficients: Pointer, zero: Any, ratio: Any,
        point: Any,
    ) -> None:  # fmt: skip
        """Normalize a pixel of more channels than the buffer holds."""
        for block in range(0, channels, BLOCK):
            count = min(BLOCK, channels - block)
            # Squares of the block and of its neighbours; zero beyond the ends.
            for i in range(0, count + 2 * MARGIN, LANES):
                vstore(squares, i, splat(_F(0.0)))
            first, last = max(0, block - MARGIN), min(channels, block + count + MARGIN)
            at = squares + (first - block + MARGIN) * 4
            square(source + first * item, at, last - first, zero)
            normalize(
                source + block * item, target + block * own, squares + (MARGIN - before) * 4,
                count, size, scale, start, beta, coefficients, zero, ratio, point,
            )  # fmt: skip

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, pixels: int, channels: int, x_pixel: int, y_pixel: int, size: int,
        scale: float, bias: float, beta: float, coefficients: Pointer, x_zero: int, ratio: float,
        y_zero: int,
    ) -> int:  # fmt: skip
        """Y = (x - x_zero) * ratio * power(bias + scale * sum of squares of neighbours) + y_zero.

        The sum goes over ``size`` channels, at most ``MARGIN``; the power is that of -``beta``, or
        the polynomial's with the ``coefficients``. Pixels are split into parts.
        """
        squares = stack_words(WORDS)
        for i in range(0, 2 * WORDS, LANES):
            vstore(squares, i, splat(_F(0.0)))
        before = (size - 1) // 2
        by, start, zero = splat(_F(scale)), splat(_F(bias)), splat(_F(x_zero))
        factor, point = splat(_F(ratio)), splat(_F(y_zero))
        # Pixels lie in the buffer between margins of zeros, so far as a sum reaches.
        margin = (size + LANES - 1) // LANES * LANES
        room = (channels + LANES - 1) // LANES * LANES + margin
        first, last = pixels * part // parts, pixels * until // parts
        together = (2 * WORDS - 2 * margin) // room
        if together == 0:
            for pixel in range(first, last):
                in_blocks(
                    squares, x + pixel * x_pixel * item, y + pixel * y_pixel * own, channels, size,
                    before, by, start, beta, coefficients, zero, factor, point,
                )  # fmt: skip
            return 0
        # Squares of several pixels first: a sum reads them across the vectors they were written
        # in, which must wait until they have reached the cache.
        while first < last:
            count = min(together, last - first)
            for pixel in range(count):
                at = squares + (pixel * room + margin) * 4
                square(x + (first + pixel) * x_pixel * item, at, channels, zero)
            for pixel in range(count):
                normalize(
                    x + (first + pixel) * x_pixel * item, y + (first + pixel) * y_pixel * own,
                    squares + (pixel * room + margin - before) * 4, channels, size, by, start,
                    beta, coefficients, zero, factor, point,
                )  # fmt: skip
            first += count
        return 0

    return body
