"""Resize of one or two spatial axes, channels last: nearest, linear and cubic.

``resize_table`` computes, for each output position of one axis, the input positions it reads
and their weights; ``resize_nearest`` and ``resize`` then gather pixels by two such tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel, kernel_factory
from ..simd import (
    fma,
    load_f32,
    load_i64,
    splat,
    store_f32,
    store_i64,
    vload,
    vload_first,
    vstore,
    vstore_first,
)
from ..target import LANES
from .elements import run_copier

_F = np.float32
OUTSIDE = -1

TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
COORDINATES = (
    "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_ASYMMETRIC, _CORNERS, _PYTORCH, _SYMMETRIC, _TF_HALF, _CROP = range(1, 7)


@njit
def _original(
    i: int, n_in: int, n_out: int, scale: Any, coordinate: int, begin: Any, end: Any
) -> Any:
    """Position in the input of output position i, in float32 as onnxruntime computes it."""
    at = _F(i)
    half = _F(0.5)
    if coordinate == _CROP:
        last = _F(n_in - 1)
        if n_out == 1:
            return half * (begin + end) * last
        return begin * last + at * (end - begin) * last / _F(n_out - 1)
    if scale == _F(1.0):
        return at
    if coordinate == _ASYMMETRIC:
        return at / scale
    if coordinate == _CORNERS:
        return _F(0.0) if n_out == 1 else at * _F(n_in - 1) / _F(n_out - 1)
    if coordinate == _PYTORCH and n_out == 1:
        return _F(0.0)
    if coordinate == _TF_HALF:
        return (at + half) / scale
    position = (at + half) / scale - half
    if coordinate == _SYMMETRIC:
        adjustment = _F(n_out) / (scale * _F(n_in))
        position += _F(n_in) * half * (_F(1.0) - adjustment)
    return position


@njit
def _round(at: Any, rounding: int) -> Any:
    if rounding == 2:
        return math.floor(at)
    if rounding == 3:
        return math.ceil(at)
    low = math.floor(at)
    if at - low == _F(0.5):
        return low if rounding == 0 else low + 1
    return math.floor(at + _F(0.5))


@njit
def _cubic(t: Any, a: Any) -> Any:
    """Keys' cubic convolution kernel at distance t."""
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a


@njit
def _inside(position: Any, n: int) -> Any:
    return min(max(position, 0), n - 1)


@kernel
def resize_table(
    thread: int,
    threads: int,
    index: Pointer,
    weight: Pointer,
    n_in: int,
    n_out: int,
    taps: int,
    stride: int,
    scale: float,
    coordinate: int,
    rounding: int,
    cubic: float,
    exclude_outside: int,
    extrapolate: int,
    begin: float,
    end: float,
) -> int:
    """Fill the table of one axis.

    Parameters
    ----------
    index
        int64, n_out x taps: input positions times ``stride`` (in elements); ``OUTSIDE`` first
        in a row that lies outside of the input, when ``extrapolate`` is set.
    weight
        float32, n_out x taps; not written for one tap.
    taps
        1 nearest, 2 linear, 4 cubic (R. Keys, 1981, with coefficient ``cubic``).
    scale
        Output size over input size; 0 takes it from the sizes.
    coordinate, rounding
        Indices into ``COORDINATES`` and ``ROUNDINGS``.
    exclude_outside
        Give taps beyond the ends no weight, and the others more.
    begin, end
        Region of interest of tf_crop_and_resize, normalized.
    """
    if thread > 0:
        return 0
    ratio = _F(scale) if scale != 0 else _F(n_out) / _F(n_in)
    for i in range(n_out):
        at = _original(i, n_in, n_out, ratio, coordinate, _F(begin), _F(end))
        outside = at < 0 or at > n_in - 1
        if taps == 1:
            store_i64(index, i, _inside(np.int64(_round(at, rounding)), n_in) * stride)
        elif taps == 2:
            at = min(max(at, _F(0.0)), _F(n_in - 1))
            low = np.int64(at)
            store_i64(index, 2 * i, low * stride)
            store_i64(index, 2 * i + 1, _inside(low + 1, n_in) * stride)
            store_f32(weight, 2 * i, _F(1.0) - (at - _F(low)))
            store_f32(weight, 2 * i + 1, at - _F(low))
        else:
            low = np.int64(math.floor(at))
            total = 0.0
            for j in range(4):
                position = low + j - 1
                part = _cubic(np.float64(at) - position, cubic)
                if exclude_outside != 0 and (position < 0 or position >= n_in):
                    part = 0.0
                total += part
                store_i64(index, 4 * i + j, _inside(position, n_in) * stride)
                store_f32(weight, 4 * i + j, _F(part))
            for j in range(4):
                store_f32(weight, 4 * i + j, load_f32(weight, 4 * i + j) / _F(total))
        if outside and extrapolate != 0:
            store_i64(index, taps * i, OUTSIDE)
    return 0


@njit
def _fill(y: Pointer, n: int, value: Any) -> None:
    for i in range(n):
        store_f32(y, i, value)


@kernel_factory
def resize_nearest(itemsize: int) -> Callable[..., int]:
    """y[n, h, w, :] = x[n, rows[h], columns[w], :], elements of 1, 2, 4 or 8 bytes.

    ``rows`` and ``columns`` are tables of one tap whose entries are in elements of x, without
    ``OUTSIDE``. Channels are dense; output rows are split over the threads.
    """
    copy_run = run_copier(itemsize)

    def body(
        thread: int, threads: int, x: Pointer, y: Pointer, rows: Pointer, columns: Pointer,
        images: int, out_height: int, out_width: int, channels: int,
        x_image: int, y_image: int, y_row: int, y_pixel: int,
    ) -> int:  # fmt: skip
        lines = images * out_height
        for line in range(lines * thread // threads, lines * (thread + 1) // threads):
            image, h = line // out_height, line % out_height
            source = x + (image * x_image + load_i64(rows, h)) * itemsize
            target = y + (image * y_image + h * y_row) * itemsize
            for w in range(out_width):
                copy_run(target, source + load_i64(columns, w) * itemsize, channels)
                target += y_pixel * itemsize
        return 0

    return body


@kernel_factory
def resize(taps: int) -> Callable[..., int]:
    """y[n, h, w, :] = sum of taps x taps weighted pixels of x, float32.

    Fields as of ``resize_nearest``; ``row_weights`` and ``column_weights`` belong to the
    tables. Positions outside get ``extrapolation``. Any axis may be resized alone by a table of
    one position for the other.
    """

    @njit
    def line(
        x: Pointer, y: Pointer, rows: Pointer, row_weights: Pointer, columns: Pointer,
        column_weights: Pointer, out_width: int, channels: int, y_pixel: int, extrapolation: Any,
    ) -> None:  # fmt: skip
        """Compute one output row."""
        for w in range(out_width):
            at, weights = columns + 8 * taps * w, column_weights + 4 * taps * w
            target = y + w * y_pixel * 4
            if load_i64(at, 0) == OUTSIDE:
                _fill(target, channels, extrapolation)
                continue
            c = 0
            while c + LANES <= channels:
                total = splat(_F(0.0))
                for i in range(taps):
                    source = x + (load_i64(rows, i) + c) * 4
                    part = splat(_F(0.0))
                    for j in range(taps):
                        v = vload(source, load_i64(at, j))
                        part = fma(v, splat(load_f32(weights, j)), part)
                    total = fma(part, splat(load_f32(row_weights, i)), total)
                vstore(target, c, total)
                c += LANES
            if c < channels:
                total = splat(_F(0.0))
                for i in range(taps):
                    source = x + (load_i64(rows, i) + c) * 4
                    part = splat(_F(0.0))
                    for j in range(taps):
                        v = vload_first(source, load_i64(at, j), channels - c)
                        part = fma(v, splat(load_f32(weights, j)), part)
                    total = fma(part, splat(load_f32(row_weights, i)), total)
                vstore_first(target, c, total, channels - c)

    @njit
    def scalar_line(
        x: Pointer, y: Pointer, rows: Pointer, row_weights: Pointer, columns: Pointer,
        column_weights: Pointer, out_width: int, channels: int, y_pixel: int, extrapolation: Any,
    ) -> None:  # fmt: skip
        """Compute one output row of few channels."""
        for w in range(out_width):
            at, weights = columns + 8 * taps * w, column_weights + 4 * taps * w
            target = y + w * y_pixel * 4
            if load_i64(at, 0) == OUTSIDE:
                _fill(target, channels, extrapolation)
                continue
            for c in range(channels):
                total = _F(0.0)
                for i in range(taps):
                    source = x + (load_i64(rows, i) + c) * 4
                    part = _F(0.0)
                    for j in range(taps):
                        part += load_f32(source, load_i64(at, j)) * load_f32(weights, j)
                    total += part * load_f32(row_weights, i)
                store_f32(target, c, total)

    def body(
        thread: int, threads: int, x: Pointer, y: Pointer, rows: Pointer, row_weights: Pointer,
        columns: Pointer, column_weights: Pointer, images: int, out_height: int, out_width: int,
        channels: int, x_image: int, y_image: int, y_row: int, y_pixel: int, extrapolation: float,
    ) -> int:  # fmt: skip
        lines = images * out_height
        for index in range(lines * thread // threads, lines * (thread + 1) // threads):
            image, h = index // out_height, index % out_height
            source, target = x + image * x_image * 4, y + (image * y_image + h * y_row) * 4
            at, weights = rows + 8 * taps * h, row_weights + 4 * taps * h
            if load_i64(at, 0) == OUTSIDE:
                for w in range(out_width):
                    _fill(target + w * y_pixel * 4, channels, _F(extrapolation))
            elif channels <= 4:
                scalar_line(source, target, at, weights, columns, column_weights, out_width,
                            channels, y_pixel, _F(extrapolation))  # fmt: skip
            else:
                line(source, target, at, weights, columns, column_weights, out_width, channels,
                     y_pixel, _F(extrapolation))  # fmt: skip
        return 0

    return body
