"""GridSample of images and volumes, channels last: the pixels at positions that are data.

A thread has a channel of a pixel. Whatever the positions hold, no address outside of the image is
read. The fields are those of the CPU's kernels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import LOAD, STORE
from .numbers import SCOPE
from .resize_axis import keys_cubic
from .threads import cuda

_F = np.float32
_FAR = _F(2.0**30)  # positions beyond, such as infinity, count as this far away
_ZEROS, _BORDER, _REFLECTION = range(3)
_OUTSIDE = -1
_TAPS = {"nearest": 1, "linear": 2, "cubic": 4}
_rint = SCOPE["math_rint_f32"]
_NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}


@device_function("float32")
def _position(given: Any, n: Any, align_corners: Any) -> Any:
    """Return the position among the n pixels of an axis of one from -1 to 1; NaN counts as -1."""
    at = _F(given)
    at = _F(-1) if at != at else min(max(at, -_FAR), _FAR)
    if align_corners != 0:
        return (at + _F(1)) / _F(2) * _F(n - 1)
    return ((at + _F(1)) * _F(n) - _F(1)) / _F(2)


@device_function("float32")
def _brought_inside(at: Any, n: Any, padding: Any, align_corners: Any) -> Any:
    """Return a position between the ends of an axis: of the outermost pixel, or a mirrored one."""
    first, last = _F(-0.5), _F(n) - _F(0.5)
    if align_corners != 0:
        first, last = _F(0), _F(n - 1)
    if padding == _ZEROS or (at >= first and at <= last):
        return at
    if padding == _BORDER:
        return min(max(at, _F(0)), _F(n - 1))
    span = last - first
    if span == _F(0):
        return first
    beyond = first - at if at < first else at - last
    times = np.int64(beyond / span)
    rest = beyond - _F(times) * span
    return first + rest if (times % 2 == 0) == (at < first) else last - rest


@device_function("float32")
def _read_from(given: Any, n: Any, taps: Any, padding: Any, align_corners: Any) -> Any:
    """Return the position that the pixels beside are read of."""
    at = _position(given, n, align_corners)
    if taps == 1:
        at = _rint(at)
    # Cubic weights are those of the position itself at a border, as in PyTorch and onnxruntime.
    if taps != 4 or padding != _BORDER:
        at = _brought_inside(at, n, padding, align_corners)
    return at


@device_function("int64")
def _first_tap(at: Any, taps: Any) -> Any:
    low = np.int64(at) if taps == 1 else np.int64(math.floor(at))
    return low - 1 if taps == 4 else low


@device_function("int64")
def _tap(index: Any, n: Any, padding: Any, align_corners: Any) -> Any:
    """Return the index of the pixel that stands for another one, or -1 for a zero."""
    place = index
    if place < 0 or place >= n:
        if padding == _ZEROS:
            return _OUTSIDE
        if padding == _REFLECTION:
            place = np.int64(_brought_inside(_F(place), n, padding, align_corners))
    return min(max(place, 0), n - 1)


@device_function("float64")
def _weight(at: Any, taps: Any, tap: Any) -> Any:
    """Return the weight of a pixel, of some beside a position."""
    if taps == 1:
        return np.float64(1)
    share = at - _F(math.floor(at))
    if taps == 2:
        return np.float64(share if tap == 1 else _F(1) - share)
    return keys_cubic(np.float64(share) + np.float64(1 - tap), np.float64(-0.75))


def _images(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["images"] * f["out_height"] * f["out_width"], f["channels"], limits)


@cuda_factory
def grid_sample(dtype: str, mode: str) -> Body:
    """Sample (N, H, W, C) at the positions (N, out_height, out_width, 2) of a grid."""
    taps, load, store, number = _TAPS[mode], LOAD[dtype], STORE[dtype], _NUMBERS[dtype]

    def body(
        x: Pointer, grid: Pointer, y: Pointer, images: int, height: int, width: int,
        channels: int, out_height: int, out_width: int, x_image: int, x_row: int, x_pixel: int,
        y_image: int, y_row: int, y_pixel: int, padding: int, align_corners: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        pixels = images * out_height * out_width
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            w, h = pixel % out_width, pixel // out_width % out_height
            image = pixel // (out_width * out_height)
            v = _read_from(load(grid, 2 * pixel + 1), height, taps, padding, align_corners)
            u = _read_from(load(grid, 2 * pixel), width, taps, padding, align_corners)
            top, left = _first_tap(v, taps), _first_tap(u, taps)
            target = image * y_image + h * y_row + w * y_pixel
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                total = number(0)
                for i in range(taps):
                    row, part = _tap(top + i, height, padding, align_corners), number(0)
                    for j in range(taps):
                        at = _tap(left + j, width, padding, align_corners)
                        if row != _OUTSIDE and at != _OUTSIDE:
                            near = load(x, image * x_image + row * x_row + at * x_pixel + c)
                            part += near * number(_weight(u, taps, j))
                    total += part * number(_weight(v, taps, i))
                store(y, target + c, total)

    return Body(body, _images)


def _volumes(f: Fields, limits: Limits) -> Launch:
    pixels = f["images"] * f["out_depth"] * f["out_height"] * f["out_width"]
    return over_rows(pixels, f["channels"], limits)


@cuda_factory
def grid_sample_volume(dtype: str, mode: str) -> Body:
    """Sample (N, D, H, W, C) at the positions (N, D', H', W', 3) of a grid."""
    taps, load, store, number = _TAPS[mode], LOAD[dtype], STORE[dtype], _NUMBERS[dtype]

    def body(
        x: Pointer, grid: Pointer, y: Pointer, images: int, depth: int, height: int, width: int,
        channels: int, out_depth: int, out_height: int, out_width: int, x_image: int,
        x_plane: int, x_row: int, x_pixel: int, y_image: int, y_plane: int, y_row: int,
        y_pixel: int, padding: int, align_corners: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        pixels = images * out_depth * out_height * out_width
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            w, h = pixel % out_width, pixel // out_width % out_height
            d = pixel // (out_width * out_height) % out_depth
            image = pixel // (out_width * out_height * out_depth)
            z = _read_from(load(grid, 3 * pixel + 2), depth, taps, padding, align_corners)
            v = _read_from(load(grid, 3 * pixel + 1), height, taps, padding, align_corners)
            u = _read_from(load(grid, 3 * pixel), width, taps, padding, align_corners)
            front, top, left = _first_tap(z, taps), _first_tap(v, taps), _first_tap(u, taps)
            target = image * y_image + d * y_plane + h * y_row + w * y_pixel
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                total = number(0)
                for k in range(taps):
                    plane, whole = _tap(front + k, depth, padding, align_corners), number(0)
                    for i in range(taps):
                        row, part = _tap(top + i, height, padding, align_corners), number(0)
                        line = image * x_image + plane * x_plane + row * x_row + c
                        for j in range(taps):
                            at = _tap(left + j, width, padding, align_corners)
                            if plane != _OUTSIDE and row != _OUTSIDE and at != _OUTSIDE:
                                near = load(x, line + at * x_pixel)
                                part += near * number(_weight(u, taps, j))
                        whole += part * number(_weight(v, taps, i))
                    total += whole * number(_weight(z, taps, k))
                store(y, target + c, total)

    return Body(body, _volumes)
