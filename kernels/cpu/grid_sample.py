"""GridSample of images and volumes, channels last: the pixels at positions that are data.

A position is brought into the image as the padding says, then the pixels around it and their
weights are looked up, and all channels are computed from these. Whatever the positions hold, no
address outside of the image is read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel_factory
from ..simd import (
    fma,
    load_f32,
    load_i64,
    splat,
    stack_words,
    store_f32,
    store_i64,
    vload_first,
    vstore_first,
)
from ..target import LANES
from .resize import FEW, OUTSIDE, TAPS, cubic_weight, interpolation

_F = np.float32
_FAR = _F(2.0**30)  # positions beyond, such as infinity, count as this far away

PADDINGS = ("zeros", "border", "reflection")
_ZEROS, _BORDER, _REFLECTION = range(3)


@njit
def _position(at: Any, n: int, align_corners: int) -> Any:
    """Position among the n pixels of an axis of one from -1 to 1; NaN counts as -1."""
    at = _F(-1.0) if at != at else min(max(at, -_FAR), _FAR)
    if align_corners != 0:
        return (at + _F(1.0)) / _F(2.0) * _F(n - 1)
    return ((at + _F(1.0)) * _F(n) - _F(1.0)) / _F(2.0)


@njit
def _brought_inside(at: Any, n: int, padding: int, align_corners: int) -> Any:
    """Position between the ends of an axis: that of the outermost pixel, or a mirrored one."""
    first, last = _F(-0.5), _F(n) - _F(0.5)
    if align_corners != 0:
        first, last = _F(0.0), _F(n - 1)
    if first <= at <= last or padding == _ZEROS:
        return at
    if padding == _BORDER:
        return min(max(at, _F(0.0)), _F(n - 1))
    span = last - first
    if span == _F(0.0):
        return first
    beyond = first - at if at < first else at - last
    times = np.int64(beyond / span)
    rest = beyond - _F(times) * span
    return first + rest if (times % 2 == 0) == (at < first) else last - rest


@njit
def _tap(index: Any, n: int, padding: int, align_corners: int) -> Any:
    """Index of the pixel that stands for another one, or ``OUTSIDE`` for a zero."""
    if index < 0 or index >= n:
        if padding == _ZEROS:
            return OUTSIDE
        if padding == _REFLECTION:
            index = np.int64(_brought_inside(_F(index), n, padding, align_corners))
    return min(max(index, 0), n - 1)


@njit
def _axis(
    index: Pointer, weight: Pointer, at: Any, n: int, stride: int, taps: int, padding: int,
    align_corners: int,
) -> None:  # fmt: skip
    """Store the offsets of the pixels that a position reads along an axis, and their weights."""
    at = _position(at, n, align_corners)
    if taps == 1:
        at = np.rint(at)
    # Cubic weights are those of the position itself at a border, as in PyTorch and onnxruntime.
    if taps != 4 or padding != _BORDER:
        at = _brought_inside(at, n, padding, align_corners)
    low = np.int64(math.floor(at))
    t = at - _F(low)
    if taps == 1:
        low = np.int64(at)
        store_f32(weight, 0, _F(1.0))
    elif taps == 2:
        store_f32(weight, 0, _F(1.0) - t)
        store_f32(weight, 1, t)
    else:
        low -= 1
        for i in range(4):
            store_f32(weight, i, _F(cubic_weight(np.float64(t) + 1 - i, -0.75)))
    for i in range(taps):
        tap = _tap(low + i, n, padding, align_corners)
        store_i64(index, i, tap if tap == OUTSIDE else tap * stride)


@kernel_factory
def grid_sample(mode: str) -> Callable[..., int]:
    """Sample (N, H, W, C) float32 at the positions (N, out_height, out_width, 2) of a grid.

    ``mode`` is a key of ``TAPS``. A position is x, y from -1 to 1: the centers of the outermost
    pixels with ``align_corners``, their outer edges without. ``padding`` is an index into
    ``PADDINGS``. Strides are in elements, channels dense; the grid is dense. Output rows are split
    into parts.
    """
    taps = TAPS[mode]
    wide, narrow = interpolation(taps, True)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, grid: Pointer, y: Pointer, images: int, height: int, width: int,
        channels: int, out_height: int, out_width: int,
        x_image: int, x_row: int, x_pixel: int, y_image: int, y_row: int, y_pixel: int,
        padding: int, align_corners: int,
    ) -> int:  # fmt: skip
        rows, row_weights, columns, weights = (
            stack_words(4), stack_words(2), stack_words(4), stack_words(2),
        )  # fmt: skip
        lines = images * out_height
        for line in range(lines * part // parts, lines * until // parts):
            image, h = line // out_height, line % out_height
            source, target = x + image * x_image * 4, y + (image * y_image + h * y_row) * 4
            for w in range(out_width):
                point = (line * out_width + w) * 2
                _axis(rows, row_weights, load_f32(grid, point + 1), height, x_row, taps, padding,
                      align_corners)  # fmt: skip
                _axis(columns, weights, load_f32(grid, point), width, x_pixel, taps, padding,
                      align_corners)  # fmt: skip
                if channels <= FEW:
                    narrow(source, target, rows, row_weights, columns, weights, channels)
                else:
                    wide(source, target, rows, row_weights, columns, weights, channels)
                target += y_pixel * 4
        return 0

    return body


@njit
def _volume_pixel(
    x: Pointer, y: Pointer, indices: Pointer, weights: Pointer, taps: int, channels: int
) -> None:
    """Compute a pixel from those around it: four offsets and weights for each of three axes."""
    wide = channels if channels > FEW else 0
    for c in range(wide, channels):
        value = _F(0.0)
        for i in range(taps):
            for j in range(4, 4 + taps):
                for k in range(8, 8 + taps):
                    a, b, d = load_i64(indices, i), load_i64(indices, j), load_i64(indices, k)
                    if a == OUTSIDE or b == OUTSIDE or d == OUTSIDE:
                        continue
                    weight = load_f32(weights, i) * load_f32(weights, j) * load_f32(weights, k)
                    value += load_f32(x, a + b + d + c) * weight
        store_f32(y, c, value)
    for c in range(0, wide, LANES):
        total = splat(_F(0.0))
        for i in range(taps):
            for j in range(4, 4 + taps):
                for k in range(8, 8 + taps):
                    a, b, d = load_i64(indices, i), load_i64(indices, j), load_i64(indices, k)
                    if a == OUTSIDE or b == OUTSIDE or d == OUTSIDE:
                        continue
                    weight = load_f32(weights, i) * load_f32(weights, j) * load_f32(weights, k)
                    near = vload_first(x, a + b + d + c, channels - c)
                    total = fma(near, splat(weight), total)
        vstore_first(y, c, total, channels - c)


@kernel_factory
def grid_sample_volume(mode: str) -> Callable[..., int]:
    """Sample (N, D, H, W, C) float32 at the positions (N, D', H', W', 3) of a grid.

    Fields as of ``grid_sample``; output rows of W' pixels are split into parts.
    """
    taps = TAPS[mode]

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, grid: Pointer, y: Pointer, images: int, depth: int, height: int, width: int,
        channels: int, out_depth: int, out_height: int, out_width: int,
        x_image: int, x_plane: int, x_row: int, x_pixel: int,
        y_image: int, y_plane: int, y_row: int, y_pixel: int, padding: int, align_corners: int,
    ) -> int:  # fmt: skip
        indices, weights = stack_words(12), stack_words(6)
        sizes, steps = (depth, height, width), (x_plane, x_row, x_pixel)
        lines = images * out_depth * out_height
        for line in range(lines * part // parts, lines * until // parts):
            h, d = line % out_height, line // out_height % out_depth
            image = line // out_height // out_depth
            source = x + image * x_image * 4
            target = y + (image * y_image + d * y_plane + h * y_row) * 4
            for w in range(out_width):
                point = (line * out_width + w) * 3
                for axis in range(3):
                    _axis(indices + 32 * axis, weights + 16 * axis,
                          load_f32(grid, point + 2 - axis), sizes[axis], steps[axis], taps,
                          padding, align_corners)  # fmt: skip
                _volume_pixel(source, target, indices, weights, taps, channels)
                target += y_pixel * 4
        return 0

    return body
