"""Group, instance and Lp normalization, float32.

Mean and variance are computed in two passes over data that is then in the cache, so that
nothing cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel, kernel_factory
from ..simd import (
    any_lane,
    first,
    fma,
    load_f32,
    reduce_add,
    reduce_max,
    select,
    splat,
    vabs,
    vload_first,
    vmax,
    vsqrt,
    vstore_first,
)
from ..target import LANES
from .layer_norm import make_apply, or_constant, row_squares, row_sum

_F = np.float32
_ZERO, _ONE = _F(0.0), _F(1.0)
_apply = make_apply()
_SHORT = LANES // 2  # numbers of a row that are added up faster one by one


@kernel
def channel_norm(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    y: Pointer,
    scale: Pointer,
    bias: Pointer,
    images: int,
    pixels: int,
    channels: int,
    x_image: int,
    x_pixel: int,
    y_image: int,
    y_pixel: int,
    epsilon: float,
) -> int:
    """Normalize every channel of every image over its pixels, channels last.

    InstanceNormalization; with one image of all pixels, MeanVarianceNormalization. ``scale``
    and ``bias`` have one element for each channel or are null. Groups of channels are split
    into parts.
    """
    chunks = (channels + LANES - 1) // LANES
    work = images * chunks
    count = splat(_F(pixels))
    for index in range(work * part // parts, work * until // parts):
        image, c = index // chunks, index % chunks * LANES
        n = channels - c
        source, target = x + (image * x_image + c) * 4, y + (image * y_image + c) * 4
        total = splat(_ZERO)
        for i in range(pixels):
            total = total + vload_first(source, i * x_pixel, n)
        mean = total / count
        total = splat(_ZERO)
        for i in range(pixels):
            v = vload_first(source, i * x_pixel, n) - mean
            total = fma(v, v, total)
        factor = splat(_ONE) / vsqrt(total / count + splat(_F(epsilon)))
        factor = factor * or_constant(scale, c, n, _ONE)
        shift = or_constant(bias, c, n, _ZERO)
        for i in range(pixels):
            v = vload_first(source, i * x_pixel, n) - mean
            vstore_first(target, i * y_pixel, fma(v, factor, shift), n)
    return 0


@kernel
def group_norm(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    y: Pointer,
    scale: Pointer,
    bias: Pointer,
    images: int,
    pixels: int,
    groups: int,
    group: int,
    x_image: int,
    x_pixel: int,
    y_image: int,
    y_pixel: int,
    epsilon: float,
) -> int:
    """Normalize groups of ``group`` neighbouring channels over their pixels, channels last.

    ``scale`` and ``bias`` have one element for each channel or are null. Groups of all images
    are split into parts.
    """
    work = images * groups
    count = _F(pixels * group)
    for index in range(work * part // parts, work * until // parts):
        image, c = index // groups, index % groups * group
        source, target = x + (image * x_image + c) * 4, y + (image * y_image + c) * 4
        total = splat(_ZERO)
        for i in range(pixels):
            total = total + row_sum(source + i * x_pixel * 4, group)
        mean = splat(reduce_add(total) / count)
        total = splat(_ZERO)
        for i in range(pixels):
            total = total + row_squares(source + i * x_pixel * 4, group, mean)
        variance = reduce_add(total) / count
        factor = splat(_F(_ONE / np.sqrt(variance + _F(epsilon))))
        here = scale + c * 4 if scale != 0 else scale
        shift = bias + c * 4 if bias != 0 else bias
        for i in range(pixels):
            at, out = source + i * x_pixel * 4, target + i * y_pixel * 4
            _apply(at, out, here, shift, group, mean, factor)
    return 0


@kernel_factory
def lp_norm(p: int) -> Callable[..., int]:
    """Divide by the sum of magnitudes (1) or the root of the sum of squares (2) along one axis.

    Or by the largest number (0), which is NaN where one is.

    The tensor is seen as o positions, the axis (n, xs, ys) and an inner axis (m, xm, ym); a
    norm of 0 leaves numbers as they are. When the inner axis has stride 1 it is vectorized.
    """
    start, power = _F(-np.inf if p == 0 else 0.0), p

    @njit
    def taken(total: Any, v: Any) -> Any:
        if power == 0:
            return select(v != v, v, vmax(total, v))
        return total + vabs(v) if power == 1 else fma(v, v, total)

    @njit
    def whole(total: Any) -> Any:
        if power == 0:
            return _F(np.nan) if any_lane(total != total) else reduce_max(total)
        length = reduce_add(total)
        return length if power == 1 else _F(np.sqrt(length))

    @njit
    def columns(x: Pointer, y: Pointer, n: int, xs: int, ys: int, count: int) -> None:
        total = splat(start)
        for i in range(n):
            total = taken(total, vload_first(x, i * xs, count))
        length = vsqrt(total) if power == 2 else total
        length = select(length == splat(_ZERO), splat(_ONE), length)
        for i in range(n):
            vstore_first(y, i * ys, vload_first(x, i * xs, count) / length, count)

    @njit
    def row(x: Pointer, y: Pointer, n: int) -> None:
        total = splat(start)
        for i in range(0, n, LANES):
            v = vload_first(x, i, n - i)
            total = taken(total, v if power else select(first(n - i), v, splat(start)))
        length = whole(total)
        divisor = splat(_ONE if length == _ZERO else length)
        for i in range(0, n, LANES):
            vstore_first(y, i, vload_first(x, i, n - i) / divisor, n - i)

    @njit
    def short_row(x: Pointer, y: Pointer, n: int) -> None:
        """Divide a row that is shorter than a vector, whose lanes take long to add up."""
        length, is_known = start, True
        for i in range(n):
            v = load_f32(x, i)
            if power == 0:
                length = v if v > length else length
                is_known &= v == v
            else:
                length += abs(v) if power == 1 else v * v
        length = _F(np.sqrt(length)) if power == 2 else length
        length = length if is_known else _F(np.nan)
        divisor = splat(_ONE if length == _ZERO else length)
        vstore_first(y, 0, vload_first(x, 0, n) / divisor, n)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, o: int, xo: int, yo: int, n: int,
        xs: int, ys: int, m: int, xm: int, ym: int,
    ) -> int:  # fmt: skip
        along_rows, dense = xs == 1 and ys == 1, xm == 1 and ym == 1
        if along_rows and m == 1:  # rows may be short: nothing is to be divided for each
            for i in range(o * part // parts, o * until // parts):
                if n <= _SHORT:
                    short_row(x + i * xo * 4, y + i * yo * 4, n)
                else:
                    row(x + i * xo * 4, y + i * yo * 4, n)
            return 0
        width = LANES if dense and not along_rows else 1
        chunks = (m + width - 1) // width
        work = o * chunks
        for index in range(work * part // parts, work * until // parts):
            at, i = index % chunks * width, index // chunks
            source, target = x + (i * xo + at * xm) * 4, y + (i * yo + at * ym) * 4
            if along_rows:
                row(source, target, n)
            else:
                columns(source, target, n, xs, ys, min(width, m - at))
        return 0

    return body
