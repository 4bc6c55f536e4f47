"""Regions of images brought to one size, channels last: RoiAlign and MaxRoiPool."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..fields import Strides
from ..registry import INDEX_OUT_OF_RANGE, INVALID_NUMBER, Pointer, kernel, kernel_factory
from ..simd import (
    fma,
    load_f32,
    load_i64,
    splat,
    stack_words,
    store_f32,
    store_i64,
    vload_first,
    vmax,
    vstore_first,
)
from ..target import LANES

_F = np.float32
_MOST_SAMPLES = _F(2.0**20)


@njit
def _clear(y: Pointer, channels: int) -> None:
    for c in range(0, channels, LANES):
        vstore_first(y, c, splat(_F(0.0)), channels - c)


@njit
def _neighbours(at: Any, size: int, stride: int, offsets: Pointer, weights: Pointer) -> Any:
    """Store both neighbours of a position, and their weights; False more than a pixel outside."""
    if not _F(-1.0) <= at <= _F(size):
        return False
    inside: Any = min(max(at, _F(0.0)), _F(size - 1))
    low: Any = np.int64(inside)
    share = inside - _F(low)
    store_i64(offsets, 0, low * stride)
    store_i64(offsets, 1, min(low + 1, size - 1) * stride)
    store_f32(weights, 0, _F(1.0) - share)
    store_f32(weights, 1, share)
    return True


def _adds(is_max: int) -> Callable[..., None]:
    """Function that adds a sample to a bin: to the sum, or to the largest neighbour's share."""

    @njit
    def add_sample(
        x: Pointer, y: Pointer, rows: Pointer, row_weights: Pointer, columns: Pointer,
        column_weights: Pointer, channels: int, is_first: bool,
    ) -> None:  # fmt: skip
        for c in range(0, channels, LANES):
            left = channels - c
            total = vload_first(y, c, left)
            for i in range(2):
                for j in range(2):
                    at = x + (load_i64(rows, i) + load_i64(columns, j)) * 4
                    weight = splat(load_f32(row_weights, i) * load_f32(column_weights, j))
                    value = vload_first(at, c, left)
                    if not is_max:
                        total = fma(value, weight, total)
                    elif is_first and i == 0 and j == 0:
                        total = value * weight
                    else:
                        total = vmax(total, value * weight)
            vstore_first(y, c, total, left)

    return add_sample


@njit
def _add_zero(y: Pointer, channels: int, is_first: bool) -> None:
    """Add a sample outside of the image to the largest value of a bin."""
    for c in range(0, channels, LANES):
        total = splat(_F(0.0))
        if not is_first:
            total = vmax(vload_first(y, c, channels - c), total)
        vstore_first(y, c, total, channels - c)


@njit
def _scale(y: Pointer, channels: int, factor: Any) -> None:
    for c in range(0, channels, LANES):
        vstore_first(y, c, vload_first(y, c, channels - c) * splat(factor), channels - c)


@njit
def _samples(size: Any, ratio: int) -> Any:
    """Number of samples of a bin along an axis."""
    return ratio if ratio > 0 else max(np.int64(math.ceil(size)), 0)


@kernel_factory
def roi_align(is_max: int) -> Callable[..., int]:
    """Mean of bilinear samples of each bin of each region, or the largest neighbour's share.

    Regions are (left, top, right, bottom), of the image that ``batches`` names, times ``scale``,
    moved by ``shift``; without ``may_be_thin`` they are one pixel wide and high at least. A bin has
    ``ratio`` samples each way, or with 0 as many as pixels. Strides are in elements, channels
    dense. Rows of bins are split into parts. Error 1 of images that are not there, 4 of regions
    that have no size, or a huge one.
    """
    add_sample = _adds(is_max)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, rois: Pointer, batches: Pointer, y: Pointer, regions: int, images: int,
        height: int, width: int, channels: int, out_height: int, out_width: int, strides: Strides,
        scale: float, shift: float, may_be_thin: int, ratio: int,
    ) -> int:  # fmt: skip
        rows, row_weights, columns, column_weights = (
            stack_words(2), stack_words(1), stack_words(2), stack_words(1),
        )  # fmt: skip
        lines = regions * out_height
        for line in range(lines * part // parts, lines * until // parts):
            roi, bin_row = line // out_height, line % out_height
            image = load_i64(batches, roi)
            if image < 0 or image >= images:
                return INDEX_OUT_OF_RANGE
            left = load_f32(rois, 4 * roi) * _F(scale) - _F(shift)
            top = load_f32(rois, 4 * roi + 1) * _F(scale) - _F(shift)
            high = load_f32(rois, 4 * roi + 3) * _F(scale) - _F(shift) - top
            wide = load_f32(rois, 4 * roi + 2) * _F(scale) - _F(shift) - left
            if may_be_thin == 0:
                high, wide = max(high, _F(1.0)), max(wide, _F(1.0))
            bin_high, bin_wide = high / _F(out_height), wide / _F(out_width)
            if not (abs(bin_high) < _MOST_SAMPLES and abs(bin_wide) < _MOST_SAMPLES):
                return INVALID_NUMBER
            down, across = _samples(bin_high, ratio), _samples(bin_wide, ratio)
            source = x + image * strides.x_image * 4
            target = y + (roi * strides.y_image + bin_row * strides.y_row) * 4
            for bin_column in range(out_width):
                _clear(target, channels)
                is_first = True
                for i in range(down):
                    v = top + _F(bin_row) * bin_high + (_F(i) + _F(0.5)) * bin_high / _F(down)
                    is_row = _neighbours(v, height, strides.x_row, rows, row_weights)
                    for j in range(across):
                        u = left + _F(bin_column) * bin_wide
                        u += (_F(j) + _F(0.5)) * bin_wide / _F(across)
                        if (
                            _neighbours(u, width, strides.x_pixel, columns, column_weights)
                            and is_row
                        ):
                            add_sample(source, target, rows, row_weights, columns, column_weights,
                                       channels, is_first)  # fmt: skip
                        elif is_max != 0:
                            _add_zero(target, channels, is_first)
                        is_first = False
                if is_max == 0:
                    _scale(target, channels, _F(1.0) / _F(max(down * across, 1)))
                target += strides.y_pixel * 4
        return 0

    return body


@njit
def _bin(begin: Any, end: Any, index: int, count: int, size: int) -> Any:
    """First and last (exclusive) pixel of a bin of a region of whole pixels."""
    step = max(end - begin + _F(1.0), _F(1.0)) / _F(count)
    first = np.floor(_F(index) * step) + begin
    last = np.ceil(_F(index + 1) * step) + begin
    bound = _F(size)
    return np.int64(min(max(first, _F(0.0)), bound)), np.int64(min(max(last, _F(0.0)), bound))


@njit
def _corner(rois: Pointer, index: int, scale: float) -> Any:
    """Nearest pixel of a coordinate, in float32; halves are rounded away from zero."""
    value = np.float64(load_f32(rois, index) * _F(scale))
    return _F(np.floor(value + 0.5) if value >= 0.0 else np.ceil(value - 0.5))


@kernel
def max_roi_pool(
    thread: int, part: int, until: int, parts: int, x: Pointer, rois: Pointer, y: Pointer,
    regions: int, images: int, height: int, width: int, channels: int, out_height: int,
    out_width: int, strides: Strides, scale: float,
) -> int:  # fmt: skip
    """Largest pixel of each bin of each region (image, left, top, right, bottom), 0 of none.

    Fields and errors as of ``roi_align``.
    """
    lines = regions * out_height
    for line in range(lines * part // parts, lines * until // parts):
        roi, bin_row = line // out_height, line % out_height
        image = load_f32(rois, 5 * roi)
        if not (image >= _F(0.0) and image < _F(images)):
            return INDEX_OUT_OF_RANGE
        left, top = _corner(rois, 5 * roi + 1, scale), _corner(rois, 5 * roi + 2, scale)
        right, bottom = _corner(rois, 5 * roi + 3, scale), _corner(rois, 5 * roi + 4, scale)
        if not abs(left) + abs(top) + abs(right) + abs(bottom) < np.inf:
            return INVALID_NUMBER
        first_row, last_row = _bin(top, bottom, bin_row, out_height, height)
        source = x + np.int64(image) * strides.x_image * 4
        target = y + (roi * strides.y_image + bin_row * strides.y_row) * 4
        for bin_column in range(out_width):
            first, last = _bin(left, right, bin_column, out_width, width)
            is_empty = first_row >= last_row or first >= last
            for c in range(0, channels, LANES):
                total = splat(_F(0.0) if is_empty else -_F(np.inf))
                for h in range(first_row, last_row):
                    for w in range(first, last):
                        at = h * strides.x_row + w * strides.x_pixel + c
                        total = vmax(total, vload_first(source, at, channels - c))
                vstore_first(target, c, total, channels - c)
            target += strides.y_pixel * 4
    return 0
