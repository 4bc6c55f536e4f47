"""Max and average pooling over windows, channels last, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    load_f32,
    select,
    splat,
    store_f32,
    store_i64,
    vload,
    vload_first,
    vmax,
    vstore,
    vstore_first,
)
from ..target import LANES

_F = np.float32


@njit
def _window(at: int, size: int, dilation: int, limit: int) -> Any:
    """First and last (exclusive) tap of a window that begins at ``at`` and lie inside."""
    first = (-at + dilation - 1) // dilation if at < 0 else 0
    last = min(size, max(0, (limit - at + dilation - 1) // dilation))
    return first, last


@njit
def _max_pixel(x: int, y: int, rows: int, taps: int, row: int, tap: int, channels: int) -> None:
    """Maximum over rows x taps pixels; NaN where there is one."""
    low, nan = splat(_F(-np.inf)), splat(_F(np.nan))
    none = low != low
    c = 0
    # Where a NaN was is kept beside the maximum, so that its chain of operations stays short.
    while c + 4 * LANES <= channels:
        a, b, d, e = low, low, low, low
        no_a, no_b, no_d, no_e = none, none, none, none
        for i in range(rows):
            at = x + (i * row + c) * 4
            for _ in range(taps):
                v, w = vload(at, 0), vload(at, LANES)
                a, b = vmax(a, v), vmax(b, w)
                no_a, no_b = no_a | (v != v), no_b | (w != w)
                v, w = vload(at, 2 * LANES), vload(at, 3 * LANES)
                d, e = vmax(d, v), vmax(e, w)
                no_d, no_e = no_d | (v != v), no_e | (w != w)
                at += tap * 4
        vstore(y, c, select(no_a, nan, a))
        vstore(y, c + LANES, select(no_b, nan, b))
        vstore(y, c + 2 * LANES, select(no_d, nan, d))
        vstore(y, c + 3 * LANES, select(no_e, nan, e))
        c += 4 * LANES
    while c < channels:
        a, no_a = low, none
        for i in range(rows):
            for j in range(taps):
                v = vload_first(x, i * row + j * tap + c, channels - c)
                a, no_a = vmax(a, v), no_a | (v != v)
        vstore_first(y, c, select(no_a, nan, a), channels - c)
        c += LANES


@njit
def _mean_pixel(
    x: int, y: int, rows: int, taps: int, row: int, tap: int, channels: int, scale: Any
) -> None:
    """Sum over rows x taps pixels, scaled."""
    zero, factor = splat(_F(0.0)), splat(scale)
    c = 0
    while c + 4 * LANES <= channels:
        a, b, d, e = zero, zero, zero, zero
        for i in range(rows):
            at = x + (i * row + c) * 4
            for _ in range(taps):
                a, b = a + vload(at, 0), b + vload(at, LANES)
                d, e = d + vload(at, 2 * LANES), e + vload(at, 3 * LANES)
                at += tap * 4
        vstore(y, c, a * factor)
        vstore(y, c + LANES, b * factor)
        vstore(y, c + 2 * LANES, d * factor)
        vstore(y, c + 3 * LANES, e * factor)
        c += 4 * LANES
    while c < channels:
        a = zero
        for i in range(rows):
            for j in range(taps):
                a = a + vload_first(x, i * row + j * tap + c, channels - c)
        vstore_first(y, c, a * factor, channels - c)
        c += LANES


@kernel
def pool(
    thread: int,
    threads: int,
    x: Pointer,
    y: Pointer,
    images: int,
    height: int,
    width: int,
    channels: int,
    out_height: int,
    out_width: int,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    pad_top: int,
    pad_left: int,
    pad_bottom: int,
    pad_right: int,
    x_image: int,
    x_row: int,
    x_pixel: int,
    y_image: int,
    y_row: int,
    y_pixel: int,
    average: int,
    include_pad: int,
) -> int:
    """Pool windows of (N, H, W, C) float32; strides in elements.

    ``average`` 0: maximum. With ``include_pad`` an average counts the padding, but never what
    ceil_mode adds beyond it. Output rows of all images are split over the threads.
    """
    rows = images * out_height
    for index in range(rows * thread // threads, rows * (thread + 1) // threads):
        image, h = index // out_height, index % out_height
        top = h * stride_h - pad_top
        h_first, h_last = _window(top, kernel_h, dilation_h, height)
        _, h_padded = _window(top, kernel_h, dilation_h, height + pad_bottom)
        for column in range(out_width):
            left = column * stride_w - pad_left
            w_first, w_last = _window(left, kernel_w, dilation_w, width)
            source = x + 4 * (
                image * x_image
                + (top + h_first * dilation_h) * x_row
                + (left + w_first * dilation_w) * x_pixel
            )
            target = y + (image * y_image + h * y_row + column * y_pixel) * 4
            taps_h, taps_w = max(0, h_last - h_first), max(0, w_last - w_first)
            row, tap = dilation_h * x_row, dilation_w * x_pixel
            if average == 0:
                _max_pixel(source, target, taps_h, taps_w, row, tap, channels)
            else:
                count = taps_h * taps_w
                if include_pad != 0:
                    _, w_padded = _window(left, kernel_w, dilation_w, width + pad_right)
                    count = h_padded * w_padded
                scale = _F(1.0) / _F(max(count, 1))
                _mean_pixel(source, target, taps_h, taps_w, row, tap, channels, scale)
    return 0


@kernel
def max_pool_indices(
    thread: int,
    threads: int,
    x: Pointer,
    y: Pointer,
    indices: Pointer,
    images: int,
    channels: int,
    height: int,
    width: int,
    out_height: int,
    out_width: int,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    pad_top: int,
    pad_left: int,
    column_major: int,
) -> int:
    """Max-pool dense (N, C, H, W) float32 and give the flat index of each maximum (int64)."""
    planes = images * channels
    for plane in range(planes * thread // threads, planes * (thread + 1) // threads):
        for h in range(out_height):
            for column in range(out_width):
                best, found = _F(-np.inf), -1
                for i in range(kernel_h):
                    for j in range(kernel_w):
                        at_h = h * stride_h - pad_top + i * dilation_h
                        at_w = column * stride_w - pad_left + j * dilation_w
                        if at_h < 0 or at_h >= height or at_w < 0 or at_w >= width:
                            continue
                        value = load_f32(x, (plane * height + at_h) * width + at_w)
                        if found < 0 or value > best:
                            best = value
                            where = at_w * height + at_h if column_major else at_h * width + at_w
                            found = np.int64(where)
                out = (plane * out_height + h) * out_width + column
                store_f32(y, out, best)
                store_i64(indices, out, plane * height * width + found)
    return 0
