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

from ..lanes import Lanes, lanes_of, numbers_of
from ..registry import Pointer, kernel_factory
from ..simd import (
    load_i64,
    stack_words,
    store_i64,
)
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


def _taps_of(dtype: str) -> Any:
    """Return a function that finds what a position reads along an axis."""
    number, store = lanes_of(dtype).number, lanes_of(dtype).store

    @njit
    def axis(
        index: Pointer, weight: Pointer, at: Any, n: int, stride: int, taps: int, padding: int,
        align_corners: int,
    ) -> None:  # fmt: skip
        """Store the offsets of the pixels that a position reads, and their weights."""
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
            store(weight, 0, number(1.0))
        elif taps == 2:
            store(weight, 0, _F(1.0) - t)
            store(weight, 1, t)
        else:
            low -= 1
            for i in range(4):
                store(weight, i, number(cubic_weight(np.float64(t) + 1 - i, -0.75)))
        for i in range(taps):
            tap = _tap(low + i, n, padding, align_corners)
            store_i64(index, i, tap if tap == OUTSIDE else tap * stride)

    return axis


@kernel_factory
def grid_sample(dtype: str, mode: str) -> Callable[..., int]:
    """Sample (N, H, W, C) float32 at the positions (N, out_height, out_width, 2) of a grid.

    ``mode`` is a key of ``TAPS``. A position is x, y from -1 to 1: the centers of the outermost
    pixels with ``align_corners``, their outer edges without. ``padding`` is an index into
    ``PADDINGS``. Strides are in elements, channels dense; the grid is dense. Output rows are split
    into parts.
    """
    taps, axis = TAPS[mode], _taps_of(dtype)
    load, size = lanes_of(dtype).load, lanes_of(dtype).itemsize
    wide, narrow = interpolation(taps, True, dtype)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, grid: Pointer, y: Pointer, images: int, height: int, width: int,
        channels: int, out_height: int, out_width: int,
        x_image: int, x_row: int, x_pixel: int, y_image: int, y_row: int, y_pixel: int,
        padding: int, align_corners: int,
    ) -> int:  # fmt: skip
        rows, row_weights, columns, weights = (
            stack_words(4), stack_words(4), stack_words(4), stack_words(4),
        )  # fmt: skip
        lines = images * out_height
        for line in range(lines * part // parts, lines * until // parts):
            image, h = line // out_height, line % out_height
            source, target = x + image * x_image * size, y + (image * y_image + h * y_row) * size
            for w in range(out_width):
                point = (line * out_width + w) * 2
                axis(rows, row_weights, load(grid, point + 1), height, x_row, taps, padding,
                      align_corners)  # fmt: skip
                axis(columns, weights, load(grid, point), width, x_pixel, taps, padding,
                      align_corners)  # fmt: skip
                if channels <= FEW:
                    narrow(source, target, rows, row_weights, columns, weights, channels)
                else:
                    wide(source, target, rows, row_weights, columns, weights, channels)
                target += y_pixel * size
        return 0

    return body


def _volume_pixel(lanes: Lanes) -> Any:
    """Return a function that computes a pixel of a volume, so many channels at a time."""
    number, load, width = lanes.number, lanes.load, lanes.width
    load_first, store_first, splat, fma = (
        lanes.load_first, lanes.store_first, lanes.splat, lanes.fma,
    )  # fmt: skip

    @njit
    def volume_pixel(
        x: Pointer, y: Pointer, indices: Pointer, weights: Pointer, taps: int, channels: int
    ) -> None:
        """Compute a pixel from those around it: four offsets and weights for each of three axes."""
        for c in range(0, channels, width):
            total = splat(number(0.0))
            for i in range(taps):
                for j in range(4, 4 + taps):
                    for k in range(8, 8 + taps):
                        a, b, d = load_i64(indices, i), load_i64(indices, j), load_i64(indices, k)
                        if a == OUTSIDE or b == OUTSIDE or d == OUTSIDE:
                            continue
                        weight = load(weights, i) * load(weights, j) * load(weights, k)
                        near = load_first(x, a + b + d + c, channels - c)
                        total = fma(near, splat(weight), total)
            store_first(y, c, total, channels - c)

    return volume_pixel


@kernel_factory
def grid_sample_volume(dtype: str, mode: str) -> Callable[..., int]:
    """Sample (N, D, H, W, C) float32 at the positions (N, D', H', W', 3) of a grid.

    Fields as of ``grid_sample``; output rows of W' pixels are split into parts.
    """
    taps, axis = TAPS[mode], _taps_of(dtype)
    wide, narrow = _volume_pixel(lanes_of(dtype)), _volume_pixel(numbers_of(dtype))
    load, size = lanes_of(dtype).load, lanes_of(dtype).itemsize

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, grid: Pointer, y: Pointer, images: int, depth: int, height: int, width: int,
        channels: int, out_depth: int, out_height: int, out_width: int,
        x_image: int, x_plane: int, x_row: int, x_pixel: int,
        y_image: int, y_plane: int, y_row: int, y_pixel: int, padding: int, align_corners: int,
    ) -> int:  # fmt: skip
        indices, weights = stack_words(12), stack_words(12)
        sizes, steps = (depth, height, width), (x_plane, x_row, x_pixel)
        lines = images * out_depth * out_height
        for line in range(lines * part // parts, lines * until // parts):
            h, d = line % out_height, line // out_height % out_depth
            image = line // out_height // out_depth
            source = x + image * x_image * size
            target = y + (image * y_image + d * y_plane + h * y_row) * size
            for w in range(out_width):
                point = (line * out_width + w) * 3
                for i in range(3):
                    axis(indices + 32 * i, weights + 4 * size * i,
                          load(grid, point + 2 - i), sizes[i], steps[i], taps,
                          padding, align_corners)  # fmt: skip
                if channels <= FEW:
                    narrow(source, target, indices, weights, taps, channels)
                else:
                    wide(source, target, indices, weights, taps, channels)
                target += y_pixel * size
        return 0

    return body
