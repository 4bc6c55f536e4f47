"""Resize of one or two spatial axes, channels last: nearest, linear and cubic.

A thread computes the positions and weights of its pixel anew: less than the loads of its channels.
"""

from __future__ import annotations

from typing import Any

from ..fields import Pointer
from .elements import accesses
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import load_f32, store_f32
from .resize_axis import (
    F,
    cubic_part,
    first_tap,
    inside,
    linear_part,
    position_of,
    rounded,
    scale_of,
)
from .threads import cuda


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["images"] * f["out_height"] * f["out_width"], f["channels"], limits)


@cuda_factory
def resize_nearest(itemsize: int) -> Body | None:
    """Copy the nearest pixels; the fields are those of the CPU's kernel."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(
        x: Pointer, y: Pointer, images: int, height: int, width: int, out_height: int,
        out_width: int, channels: int, x_image: int, x_row: int, x_pixel: int, y_image: int,
        y_row: int, y_pixel: int, scale_h: float, scale_w: float, coordinates: int, rounding: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        pixels = images * out_height * out_width
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            w, h = pixel % out_width, pixel // out_width % out_height
            image = pixel // (out_width * out_height)
            scale = scale_of(scale_h, height, out_height)
            at = position_of(h, height, out_height, scale, coordinates, F(0), F(1))
            source = image * x_image + inside(rounded(at, rounding), height) * x_row
            scale = scale_of(scale_w, width, out_width)
            at = position_of(w, width, out_width, scale, coordinates, F(0), F(1))
            source += inside(rounded(at, rounding), width) * x_pixel
            target = image * y_image + h * y_row + w * y_pixel
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                store(y, target + c, load(x, source + c))

    return Body(body, _launch)


@device_function("float32")
def _weight(at: Any, n_in: Any, taps: Any, tap: Any, cubic: Any, exclude_outside: Any) -> Any:
    if taps == 2:
        part = linear_part(at, n_in)
        return part if tap == 1 else F(1) - part
    total = F(0)
    for i in range(4):
        total += cubic_part(at, n_in, i, cubic, exclude_outside)
    return cubic_part(at, n_in, tap, cubic, exclude_outside) / total


@cuda_factory
def resize(taps: int) -> Body:
    """Interpolate float32 linearly (2 taps) or by cubic convolution (4).

    The fields are those of the CPU's kernel.
    """

    def body(
        x: Pointer, y: Pointer, images: int, height: int, width: int, out_height: int,
        out_width: int, channels: int, x_image: int, x_row: int, x_pixel: int, y_image: int,
        y_row: int, y_pixel: int, scale_h: float, scale_w: float, coordinates: int, cubic: float,
        exclude_outside: int, extrapolate: int, extrapolation: float, top: float, bottom: float,
        left: float, right: float, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        pixels = images * out_height * out_width
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            w, h = pixel % out_width, pixel // out_width % out_height
            image = pixel // (out_width * out_height)
            scale = scale_of(scale_h, height, out_height)
            v = position_of(h, height, out_height, scale, coordinates, F(top), F(bottom))
            scale = scale_of(scale_w, width, out_width)
            u = position_of(w, width, out_width, scale, coordinates, F(left), F(right))
            is_outside = v < 0 or v > height - 1 or u < 0 or u > width - 1
            row, place = first_tap(v, height, taps), first_tap(u, width, taps)
            source = image * x_image
            target = image * y_image + h * y_row + w * y_pixel
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                total = F(0)
                for i in range(taps):
                    part, line = F(0), source + inside(row + i, height) * x_row + c
                    for j in range(taps):
                        weight = _weight(u, width, taps, j, cubic, exclude_outside)
                        part += load_f32(x, line + inside(place + j, width) * x_pixel) * weight
                    total += part * _weight(v, height, taps, i, cubic, exclude_outside)
                if extrapolate != 0 and is_outside:
                    total = F(extrapolation)
                store_f32(y, target + c, total)

    return Body(body, _launch)
