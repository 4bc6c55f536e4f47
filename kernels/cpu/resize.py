"""Resize of one or two spatial axes, channels last: nearest, linear and cubic.

For each axis the input positions that an output position reads and their weights are computed
first, for columns once by each thread, for rows as they come; pixels are gathered by these.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..fields import Sizes, Strides
from ..lanes import Lanes, lanes_of, numbers_of
from ..registry import Pointer, kernel_factory
from ..resampling import cubic_weight as _cubic_weight
from ..resampling import positions_in
from ..resampling import round_position as _round_position
from ..simd import (
    load_f32,
    load_i64,
    stack_words,
    store_f32,
    store_i64,
)
from .elements import run_copier

_F = np.float32
OUTSIDE = -1
FEW = 4  # channels that are not worth a vector

TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
_original_position = njit(positions_in(_F))  # as onnxruntime computes them
round_position, cubic_weight = njit(_round_position), njit(_cubic_weight)


@njit
def _inside(position: Any, n: int) -> Any:
    return min(max(position, 0), n - 1)


@njit
def _axis(
    index: Pointer, weight: Pointer, first: int, count: int, n_in: int, n_out: int, taps: int,
    stride: int, ratio: float, coordinates: int, rounding: int, cubic: float, exclude_outside: int,
    extrapolate: int, begin: float, end: float,
) -> None:  # fmt: skip
    """Fill tables of ``count`` output positions from ``first`` on.

    ``index`` gets the offsets that each position reads, int64, ``weight`` their weights,
    float32; the first offset is ``OUTSIDE`` where the position lies outside of the input and
    ``extrapolate`` is set.
    """
    scale = _F(ratio) if ratio != 0 else _F(n_out) / _F(max(n_in, 1))
    for i in range(count):
        at = _original_position(first + i, n_in, n_out, scale, coordinates, _F(begin), _F(end))
        if taps == 1:
            low = np.int64(round_position(at, rounding))
            store_i64(index, i, _inside(low, n_in) * stride)
        elif taps == 2:
            inside = min(max(at, _F(0.0)), _F(n_in - 1))
            low = np.int64(inside)
            store_i64(index, 2 * i, low * stride)
            store_i64(index, 2 * i + 1, _inside(low + 1, n_in) * stride)
            store_f32(weight, 2 * i, _F(1.0) - (inside - _F(low)))
            store_f32(weight, 2 * i + 1, inside - _F(low))
        else:
            low = np.int64(math.floor(at))
            total = 0.0
            for j in range(4):
                position = low + j - 1
                part = cubic_weight(np.float64(at) - position, cubic)
                if exclude_outside != 0 and (position < 0 or position >= n_in):
                    part = 0.0
                total += part
                store_i64(index, 4 * i + j, _inside(position, n_in) * stride)
                store_f32(weight, 4 * i + j, _F(part))
            for j in range(4):
                store_f32(weight, 4 * i + j, load_f32(weight, 4 * i + j) / _F(total))
        if extrapolate != 0 and (at < 0 or at > n_in - 1):
            store_i64(index, taps * i, OUTSIDE)


def workspace_bytes(out_width: Any, taps: int) -> Any:
    """Bytes of workspace for each thread."""
    return out_width * taps * 12


@njit
def _fill(y: Pointer, n: int, value: Any) -> None:
    for i in range(n):
        store_f32(y, i, value)


@kernel_factory
def resize_nearest(itemsize: int) -> Callable[..., int]:
    """Copy the nearest pixels; elements of 1, 2, 4 or 8 bytes.

    Fields as of ``resize``.
    """
    copy_run = run_copier(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sizes: Sizes, channels: int, strides: Strides, scale_h: float,
        scale_w: float,
        coordinates: int, rounding: int, workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        row, columns = stack_words(1), workspace + thread * workspace_bytes
        _axis(columns, 0, 0, sizes.out_width, sizes.width, sizes.out_width, 1, strides.x_pixel,
              scale_w, coordinates, rounding, 0.0, 0, 0, 0.0, 1.0)  # fmt: skip
        lines = sizes.images * sizes.out_height
        for line in range(lines * part // parts, lines * until // parts):
            image, h = line // sizes.out_height, line % sizes.out_height
            _axis(row, 0, h, 1, sizes.height, sizes.out_height, 1, strides.x_row, scale_h,
                  coordinates, rounding, 0.0, 0, 0, 0.0, 1.0)  # fmt: skip
            source = x + (image * strides.x_image + load_i64(row, 0)) * itemsize
            target = y + (image * strides.y_image + h * strides.y_row) * itemsize
            for w in range(sizes.out_width):
                copy_run(target, source + load_i64(columns, w) * itemsize, channels)
                target += strides.y_pixel * itemsize
        return 0

    return body


def _pixel(taps: int, skips: bool, lanes: Lanes) -> Callable[..., None]:
    """Return a function that computes a pixel from those around it, so many channels at a time."""
    number, load, size, width = lanes.number, lanes.load, lanes.itemsize, lanes.width
    load_first, store_first, splat, fma = (
        lanes.load_first, lanes.store_first, lanes.splat, lanes.fma,
    )  # fmt: skip

    @njit
    def pixel(
        x: Pointer, y: Pointer, rows: Pointer, row_weights: Pointer, columns: Pointer,
        weights: Pointer, channels: int,
    ) -> None:  # fmt: skip
        for c in range(0, channels, width):
            total = splat(number(0.0))
            for i in range(taps):
                row = load_i64(rows, i)
                source = x + (row + c) * size
                part = splat(number(0.0))
                for j in range(taps):
                    column = load_i64(columns, j)
                    if not skips or (row != OUTSIDE and column != OUTSIDE):
                        v = load_first(source, column, channels - c)
                        part = fma(v, splat(load(weights, j)), part)
                total = fma(part, splat(load(row_weights, i)), total)
            store_first(y, c, total, channels - c)

    return pixel


def interpolation(
    taps: int, skips: bool, dtype: str = "f32"
) -> tuple[Callable[..., None], Callable[..., None]]:
    """Return functions that compute a pixel from those around it: many channels, or few.

    They are called with the image, the pixel, the offsets of rows and of columns with their weights
    (as ``_axis`` fills them in), and the number of channels. With ``skips`` a row or column that is
    ``OUTSIDE`` counts as zeros.
    """
    return _pixel(taps, skips, lanes_of(dtype)), _pixel(taps, skips, numbers_of(dtype))


@kernel_factory
def resize(taps: int) -> Callable[..., int]:
    """Interpolate (N, H, W, C) float32 linearly (2 taps) or by cubic convolution (4).

    Strides are in elements, channels dense. A scale of 0 stands for out / in; ``coordinates``
    and ``rounding`` are indices into ``COORDINATES`` and ``ROUNDINGS``. ``cubic`` is the
    coefficient of R. Keys' kernel (1981); ``exclude_outside`` gives taps beyond the ends no
    weight. ``top`` to ``bottom`` and ``left`` to ``right`` is the region of tf_crop_and_resize;
    what lies outside of the input gets ``extrapolation`` when ``extrapolate`` is set.
    ``workspace`` holds ``workspace_bytes`` for each thread. Output rows are split into parts.
    """
    wide, narrow = interpolation(taps, False)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sizes: Sizes, channels: int, strides: Strides, scale_h: float,
        scale_w: float,
        coordinates: int, rounding: int, workspace: Pointer, workspace_bytes: int, cubic: float,
        exclude_outside: int, extrapolate: int, extrapolation: float, top: float, bottom: float,
        left: float, right: float,
    ) -> int:  # fmt: skip
        rows, row_weights = stack_words(4), stack_words(2)
        columns = workspace + thread * workspace_bytes
        column_weights = columns + 8 * taps * sizes.out_width
        _axis(columns, column_weights, 0, sizes.out_width, sizes.width, sizes.out_width, taps,
              strides.x_pixel, scale_w, coordinates, rounding, cubic, exclude_outside,
              extrapolate, left, right)  # fmt: skip
        lines = sizes.images * sizes.out_height
        for line in range(lines * part // parts, lines * until // parts):
            image, h = line // sizes.out_height, line % sizes.out_height
            _axis(rows, row_weights, h, 1, sizes.height, sizes.out_height, taps, strides.x_row,
                  scale_h, coordinates, rounding, cubic, exclude_outside,
                  extrapolate, top, bottom)  # fmt: skip
            source, target = (
                x + image * strides.x_image * 4,
                y + (image * strides.y_image + h * strides.y_row) * 4,
            )
            for w in range(sizes.out_width):
                at, weights = columns + 8 * taps * w, column_weights + 4 * taps * w
                if load_i64(rows, 0) == OUTSIDE or load_i64(at, 0) == OUTSIDE:
                    _fill(target, channels, _F(extrapolation))
                elif channels <= FEW:
                    narrow(source, target, rows, row_weights, at, weights, channels)
                else:
                    wide(source, target, rows, row_weights, at, weights, channels)
                target += strides.y_pixel * 4
        return 0

    return body
