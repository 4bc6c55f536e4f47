"""Regions of images brought to one size, channels last: RoiAlign and MaxRoiPool."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..fields import Strides
from ..lanes import lanes_of
from ..registry import INDEX_OUT_OF_RANGE, INVALID_NUMBER, Pointer, kernel_factory
from ..simd import load_i64, stack_words, store_i64
from .indices import out_of_range

_MOST_SAMPLES = 2.0**20


def _neighbours(dtype: str) -> Callable[..., bool]:
    """Return a function that stores what a position lies between."""
    lanes, number = lanes_of(dtype), lanes_of(dtype).number
    store = lanes.store

    @njit
    def neighbours(at: Any, size: int, stride: int, offsets: Pointer, weights: Pointer) -> Any:
        """Store both neighbours and their weights; False more than a pixel outside."""
        if not number(-1.0) <= at <= number(size):
            return False
        inside: Any = min(max(at, number(0.0)), number(size - 1))
        low: Any = np.int64(inside)
        share = inside - number(low)
        store_i64(offsets, 0, low * stride)
        store_i64(offsets, 1, min(low + 1, size - 1) * stride)
        store(weights, 0, number(1.0) - share)
        store(weights, 1, share)
        return True

    return neighbours


def _bins(dtype: str, is_max: int) -> tuple[Callable[..., None], ...]:
    """Return what is done to the channels of a bin: clear, add a sample, add a zero, scale."""
    lanes, number = lanes_of(dtype), lanes_of(dtype).number
    load, size, count = lanes.load, lanes.itemsize, lanes.width
    load_first, store_first = lanes.load_first, lanes.store_first
    splat, fma, maximum = lanes.splat, lanes.fma, lanes.maximum

    @njit
    def clear(y: Pointer, channels: int) -> None:
        for c in range(0, channels, count):
            store_first(y, c, splat(number(0.0)), channels - c)

    @njit
    def add_sample(
        x: Pointer, y: Pointer, rows: Pointer, row_weights: Pointer, columns: Pointer,
        column_weights: Pointer, channels: int, is_first: bool,
    ) -> None:  # fmt: skip
        """Add a sample to the sum, or to the largest neighbour's share."""
        for c in range(0, channels, count):
            left = channels - c
            total = load_first(y, c, left)
            for i in range(2):
                for j in range(2):
                    at = x + (load_i64(rows, i) + load_i64(columns, j)) * size
                    weight = splat(load(row_weights, i) * load(column_weights, j))
                    value = load_first(at, c, left)
                    if not is_max:
                        total = fma(value, weight, total)
                    elif is_first and i == 0 and j == 0:
                        total = value * weight
                    else:
                        total = maximum(total, value * weight)
            store_first(y, c, total, left)

    @njit
    def add_zero(y: Pointer, channels: int, is_first: bool) -> None:
        """Add a sample outside of the image to the largest value."""
        for c in range(0, channels, count):
            total = splat(number(0.0))
            if not is_first:
                total = maximum(load_first(y, c, channels - c), total)
            store_first(y, c, total, channels - c)

    @njit
    def scaled(y: Pointer, channels: int, factor: Any) -> None:
        for c in range(0, channels, count):
            store_first(y, c, load_first(y, c, channels - c) * splat(factor), channels - c)

    return clear, add_sample, add_zero, scaled


@njit
def _samples(size: Any, ratio: int) -> Any:
    """Number of samples of a bin along an axis."""
    return ratio if ratio > 0 else max(np.int64(math.ceil(size)), 0)


@kernel_factory
def roi_align(dtype: str, is_max: int) -> Callable[..., int]:
    """Mean of bilinear samples of each bin of each region, or the largest neighbour's share.

    Regions are (left, top, right, bottom), of the image that ``batches`` names, times ``scale``,
    moved by ``shift``; without ``may_be_thin`` they are one pixel wide and high at least. A bin has
    ``ratio`` samples each way, or with 0 as many as pixels. Strides are in elements, channels
    dense. Rows of bins are split into parts. Error 1 of images that are not there, 4 of regions
    that have no size, or a huge one.
    """
    lanes, number = lanes_of(dtype), lanes_of(dtype).number
    load, size = lanes.load, lanes.itemsize
    neighbours = _neighbours(dtype)
    clear, add_sample, add_zero, scaled = _bins(dtype, is_max)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, rois: Pointer, batches: Pointer, y: Pointer, regions: int, images: int,
        height: int, width: int, channels: int, out_height: int, out_width: int, strides: Strides,
        scale: float, shift: float, may_be_thin: int, ratio: int,
    ) -> int:  # fmt: skip
        rows, row_weights, columns, column_weights = (
            stack_words(2), stack_words(2), stack_words(2), stack_words(2),
        )  # fmt: skip
        lines = regions * out_height
        for line in range(lines * part // parts, lines * until // parts):
            roi, bin_row = line // out_height, line % out_height
            image = load_i64(batches, roi)
            if image < 0 or image >= images:
                return out_of_range(image)
            left = load(rois, 4 * roi) * number(scale) - number(shift)
            top = load(rois, 4 * roi + 1) * number(scale) - number(shift)
            high = load(rois, 4 * roi + 3) * number(scale) - number(shift) - top
            wide = load(rois, 4 * roi + 2) * number(scale) - number(shift) - left
            if may_be_thin == 0:
                high, wide = max(high, number(1.0)), max(wide, number(1.0))
            bin_high, bin_wide = high / number(out_height), wide / number(out_width)
            if not (
                abs(bin_high) < number(_MOST_SAMPLES) and abs(bin_wide) < number(_MOST_SAMPLES)
            ):
                return INVALID_NUMBER
            down, across = _samples(bin_high, ratio), _samples(bin_wide, ratio)
            source = x + image * strides.x_image * size
            target = y + (roi * strides.y_image + bin_row * strides.y_row) * size
            for bin_column in range(out_width):
                clear(target, channels)
                is_first = True
                for i in range(down):
                    v = (
                        top
                        + number(bin_row) * bin_high
                        + (number(i) + number(0.5)) * bin_high / number(down)
                    )
                    is_row = neighbours(v, height, strides.x_row, rows, row_weights)
                    for j in range(across):
                        u = left + number(bin_column) * bin_wide
                        u += (number(j) + number(0.5)) * bin_wide / number(across)
                        if (
                            neighbours(u, width, strides.x_pixel, columns, column_weights)
                            and is_row
                        ):
                            add_sample(source, target, rows, row_weights, columns, column_weights,
                                       channels, is_first)  # fmt: skip
                        elif is_max != 0:
                            add_zero(target, channels, is_first)
                        is_first = False
                if is_max == 0:
                    scaled(target, channels, number(1.0) / number(max(down * across, 1)))
                target += strides.y_pixel * size
        return 0

    return body


def _corners(dtype: str) -> tuple[Any, Any]:
    """Return functions for the nearest pixel of a coordinate, and for the pixels of a bin."""
    lanes, number = lanes_of(dtype), lanes_of(dtype).number
    load = lanes.load

    @njit
    def corner(rois: Pointer, index: int, scale: float) -> Any:
        """Round a coordinate, in its type; halves away from zero."""
        value = np.float64(load(rois, index) * number(scale))
        return number(np.floor(value + 0.5) if value >= 0.0 else np.ceil(value - 0.5))

    @njit
    def bin_of(begin: Any, end: Any, index: int, bins: int, size: int) -> Any:
        """First and last (exclusive) pixel of a bin of a region of whole pixels."""
        step = max(end - begin + number(1.0), number(1.0)) / number(bins)
        first = np.floor(number(index) * step) + begin
        last = np.ceil(number(index + 1) * step) + begin
        bound, zero = number(size), number(0.0)
        return np.int64(min(max(first, zero), bound)), np.int64(min(max(last, zero), bound))

    return corner, bin_of


@kernel_factory
def max_roi_pool(dtype: str) -> Callable[..., int]:
    """Largest pixel of each bin of each region (image, left, top, right, bottom), 0 of none.

    Fields and errors as of ``roi_align``.
    """
    lanes, number = lanes_of(dtype), lanes_of(dtype).number
    load, size, count = lanes.load, lanes.itemsize, lanes.width
    load_first, store_first = lanes.load_first, lanes.store_first
    splat, maximum = lanes.splat, lanes.maximum
    corner, bin_of = _corners(dtype)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, rois: Pointer, y: Pointer,
        regions: int, images: int, height: int, width: int, channels: int, out_height: int,
        out_width: int, strides: Strides, scale: float,
    ) -> int:  # fmt: skip
        lines = regions * out_height
        for line in range(lines * part // parts, lines * until // parts):
            roi, bin_row = line // out_height, line % out_height
            image = load(rois, 5 * roi)
            if not (image >= number(0.0) and image < number(images)):
                is_number = abs(image) < number(1 << 30)
                return out_of_range(int(np.floor(image))) if is_number else INDEX_OUT_OF_RANGE
            left, top = corner(rois, 5 * roi + 1, scale), corner(rois, 5 * roi + 2, scale)
            right, bottom = corner(rois, 5 * roi + 3, scale), corner(rois, 5 * roi + 4, scale)
            if not abs(left) + abs(top) + abs(right) + abs(bottom) < np.inf:
                return INVALID_NUMBER
            first_row, last_row = bin_of(top, bottom, bin_row, out_height, height)
            source = x + np.int64(image) * strides.x_image * size
            target = y + (roi * strides.y_image + bin_row * strides.y_row) * size
            for bin_column in range(out_width):
                first, last = bin_of(left, right, bin_column, out_width, width)
                is_empty = first_row >= last_row or first >= last
                for c in range(0, channels, count):
                    total = splat(number(0.0) if is_empty else -number(np.inf))
                    for h in range(first_row, last_row):
                        for w in range(first, last):
                            at = h * strides.x_row + w * strides.x_pixel + c
                            total = maximum(total, load_first(source, at, channels - c))
                    store_first(target, c, total, channels - c)
                target += strides.y_pixel * size
        return 0

    return body
