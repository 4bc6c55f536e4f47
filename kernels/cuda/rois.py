"""Regions of images brought to one size, channels last: RoiAlign and MaxRoiPool.

A thread has a channel of a bin. The fields and errors are those of the CPU's kernels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from ..registry import INDEX_OUT_OF_RANGE, INVALID_NUMBER
from .blocks import larger
from .functions import device_function
from .indices import refuse
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import LOAD, STORE, load_i64, store_i64
from .numbers import SCOPE
from .threads import cuda

_NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
_TYPES = {"f32": "float32", "f64": "float64"}
_MOST_SAMPLES = 2.0**20
_floor, _ceil = SCOPE["math_floor_f64"], SCOPE["math_ceil_f64"]


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["regions"] * f["out_height"] * f["out_width"], f["channels"], limits)


@device_function("int64")
def _samples(size: Any, ratio: Any) -> Any:
    """Return the number of samples of a bin along an axis."""
    return ratio if ratio > 0 else max(np.int64(math.ceil(size)), np.int64(0))


@device_function("boolean")
def _is_inside(at: Any, size: Any) -> Any:
    """Tell whether a position is at most a pixel outside."""
    return at >= -1.0 and at <= size


@device_function()
def _limited(at: Any, last: Any) -> Any:
    """Return the nearest position from 0 to the last one."""
    return min(max(at, last - last), last)


@cuda_factory
def roi_align(dtype: str, is_max: int) -> Body:
    """Mean of bilinear samples of each bin of each region, or the largest neighbour's share."""
    load, store, number = LOAD[dtype], STORE[dtype], _NUMBERS[dtype]

    def body(
        x: Pointer, rois: Pointer, batches: Pointer, y: Pointer, regions: int, images: int,
        height: int, width: int, channels: int, out_height: int, out_width: int, x_image: int,
        x_row: int, x_pixel: int, y_image: int, y_row: int, y_pixel: int, scale: float,
        shift: float, may_be_thin: int, ratio: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        bins = regions * out_height * out_width
        for at_bin in range(first, bins, cuda.gridDim.y * cuda.blockDim.y):
            bin_column, bin_row = at_bin % out_width, at_bin // out_width % out_height
            roi = at_bin // (out_width * out_height)
            image = load_i64(batches, roi)
            left = load(rois, 4 * roi) * number(scale) - number(shift)
            top = load(rois, 4 * roi + 1) * number(scale) - number(shift)
            high = load(rois, 4 * roi + 3) * number(scale) - number(shift) - top
            wide = load(rois, 4 * roi + 2) * number(scale) - number(shift) - left
            if may_be_thin == 0:
                high, wide = max(high, number(1)), max(wide, number(1))
            high, wide = high / number(out_height), wide / number(out_width)
            is_there = image >= 0 and image < images
            is_valid = abs(high) < number(_MOST_SAMPLES) and abs(wide) < number(_MOST_SAMPLES)
            if not is_there:
                refuse(status, image)
            elif not is_valid:
                store_i64(status, 0, INVALID_NUMBER)
            down = _samples(high, ratio) if is_there and is_valid else np.int64(0)
            across = _samples(wide, ratio) if is_there and is_valid else np.int64(0)
            target = roi * y_image + bin_row * y_row + bin_column * y_pixel
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                total, is_first = number(0), True
                for i in range(down):
                    v = top + number(bin_row) * high
                    v += (number(i) + number(0.5)) * high / number(down)
                    row = _limited(v, number(height - 1))
                    up = np.int64(row)
                    row_share, below = row - number(up), _limited(up + 1, height - 1)
                    for j in range(across):
                        u = left + number(bin_column) * wide
                        u += (number(j) + number(0.5)) * wide / number(across)
                        place = _limited(u, number(width - 1))
                        near = np.int64(place)
                        share, beside = place - number(near), _limited(near + 1, width - 1)
                        a = b = d = e = number(0)
                        if _is_inside(v, height) and _is_inside(u, width):
                            source = image * x_image + c
                            upper, lower = source + up * x_row, source + below * x_row
                            a = (number(1) - row_share) * (number(1) - share)
                            a *= load(x, upper + near * x_pixel)
                            b = (number(1) - row_share) * share * load(x, upper + beside * x_pixel)
                            d = row_share * (number(1) - share) * load(x, lower + near * x_pixel)
                            e = row_share * share * load(x, lower + beside * x_pixel)
                        if is_max == 0:
                            total += a + b + d + e
                        else:
                            most = larger(larger(a, b), larger(d, e))
                            total = most if is_first else larger(total, most)
                        is_first = False
                if is_max == 0:
                    total *= number(1) / number(max(down * across, 1))
                store(y, target + c, total)

    return Body(body, _launch)


def _bins_in(dtype: str) -> tuple[Any, Any]:
    """Return functions for the nearest pixel of a coordinate, and for the ends of a bin."""
    load, number = LOAD[dtype], _NUMBERS[dtype]

    @device_function(_TYPES[dtype])
    def corner(rois: Any, index: Any, scale: Any) -> Any:
        """Round a coordinate, in its type; halves away from zero."""
        value = np.float64(load(rois, index) * number(scale))
        return number(_floor(value + 0.5) if value >= 0 else _ceil(value - 0.5))

    @device_function("int64")
    def end_of(begin: Any, end: Any, index: Any, bins: Any, size: Any, is_last: Any) -> Any:
        """First (0) or last, exclusive, (1) pixel of a bin of a region of whole pixels."""
        step = max(end - begin + number(1), number(1)) / number(bins)
        at = number(index + is_last) * step
        place = number(math.ceil(at) if is_last == 1 else math.floor(at)) + begin
        return np.int64(min(max(place, number(0)), number(size)))

    return corner, end_of


@cuda_factory
def max_roi_pool(dtype: str) -> Body:
    """Largest pixel of each bin of each region (image, left, top, right, bottom), 0 of none."""
    load, store, number = LOAD[dtype], STORE[dtype], _NUMBERS[dtype]
    corner, end_of = _bins_in(dtype)

    def body(
        x: Pointer, rois: Pointer, y: Pointer, regions: int, images: int, height: int, width: int,
        channels: int, out_height: int, out_width: int, x_image: int, x_row: int, x_pixel: int,
        y_image: int, y_row: int, y_pixel: int, scale: float, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        bins = regions * out_height * out_width
        for at_bin in range(first, bins, cuda.gridDim.y * cuda.blockDim.y):
            w, h = at_bin % out_width, at_bin // out_width % out_height
            roi = at_bin // (out_width * out_height)
            image = load(rois, 5 * roi)
            left, top = corner(rois, 5 * roi + 1, scale), corner(rois, 5 * roi + 2, scale)
            right, bottom = corner(rois, 5 * roi + 3, scale), corner(rois, 5 * roi + 4, scale)
            is_there = image >= number(0) and image < number(images)
            is_valid = abs(left) + abs(top) + abs(right) + abs(bottom) < np.inf
            if not is_there:
                if abs(image) < number(1 << 30):
                    refuse(status, np.int64(math.floor(image)))
                else:
                    store_i64(status, 0, INDEX_OUT_OF_RANGE)
            elif not is_valid:
                store_i64(status, 0, INVALID_NUMBER)
            if is_there and is_valid:
                upper = end_of(top, bottom, h, out_height, height, 0)
                lower = end_of(top, bottom, h, out_height, height, 1)
                near = end_of(left, right, w, out_width, width, 0)
                far = end_of(left, right, w, out_width, width, 1)
                source = np.int64(image) * x_image
                target = roi * y_image + h * y_row + w * y_pixel
                for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                    is_empty = upper >= lower or near >= far
                    total = number(0) if is_empty else number(-np.inf)
                    for row in range(upper, lower):
                        for place in range(near, far):
                            at = source + row * x_row + place * x_pixel
                            total = larger(total, load(x, at + c))
                    store(y, target + c, total)

    return Body(body, _launch)
