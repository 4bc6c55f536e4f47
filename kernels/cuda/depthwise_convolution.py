"""Convolutions of which each filter sees one channel, channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import several
from .threads import cuda
from .tiles import NUMBERS
from .windows import LANES, on_each, window_walk


def _launch(f: Fields, limits: Limits) -> Launch:
    pixels = f["images"] * f["out_slices"] * f["out_height"] * f["out_width"]
    filters = f["groups"] * f["filters"]
    return over_rows(pixels, -(-filters // LANES) if f["filters"] == 1 else filters, limits)


def _summed(kind: str, lanes: int) -> Any:
    """Return a function that stores some filters of a pixel: products of taps and channels."""
    (load, store), number = several(kind, lanes), NUMBERS[kind]
    name = np.dtype(number).name

    @device_function(name)
    def multiply_add(total: Any, a: Any, b: Any) -> Any:
        return number(total + a * b)

    on_lanes, start = on_each(multiply_add, 3, name, lanes), (number(0),) * lanes

    @device_function(f"{name} x {lanes}")
    def step(values: Any, x: Any, place: Any, w: Any, weight: Any) -> Any:
        return on_lanes(values, load(x, place), load(w, weight))

    walk = window_walk(step, name, lanes)

    @device_function("void")
    def pixel(
        x: Any, w: Any, y: Any, bias: Any, source: Any, target: Any, weight: Any, apart: Any,
        origin: Any, sizes: Any, taps: Any, dilations: Any, strides: Any,
    ) -> None:  # fmt: skip
        values = load(bias, weight) if bias != 0 else start
        values = walk(values, x, w, source, weight, apart, origin, sizes, taps, dilations, strides)
        store(y, target, values)

    return pixel


@cuda_factory
def depthwise_convolution(kind: str) -> Body:
    """Convolve each of ``groups`` channels with ``filters`` filters of its own.

    The weights lie tap by tap, the filters of all channels side by side; the bias has one element
    for each filter, or is null. A thread has a filter of a pixel, or with one filter for each
    channel some neighbouring ones, where they lie evenly.
    """
    several_filters, one_filter = _summed(kind, LANES), _summed(kind, 1)

    def body(
        x: Pointer, w: Pointer, y: Pointer, bias: Pointer, images: int, groups: int, filters: int,
        slices: int, height: int, width: int, out_slices: int, out_height: int, out_width: int,
        kernel_d: int, kernel_h: int, kernel_w: int, stride_d: int, stride_h: int, stride_w: int,
        dilation_d: int, dilation_h: int, dilation_w: int, pad_front: int, pad_top: int,
        pad_left: int, x_image: int, x_slice: int, x_row: int, x_pixel: int, y_image: int,
        y_slice: int, y_row: int, y_pixel: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        step = cuda.gridDim.x * cuda.blockDim.x
        sizes, taps = (slices, height, width), (kernel_d, kernel_h, kernel_w)
        dilations, strides = (dilation_d, dilation_h, dilation_w), (x_slice, x_row, x_pixel)
        pixels, all_filters = images * out_slices * out_height * out_width, groups * filters
        apart = x_image | x_slice | x_row | x_pixel | y_image | y_slice | y_row | y_pixel
        is_even = (x | w | y | bias) % 16 == 0 and (apart | groups) % LANES == 0
        together = all_filters if is_even and filters == 1 else 0
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            ow, oh = pixel % out_width, pixel // out_width % out_height
            od = pixel // (out_width * out_height) % out_slices
            image = pixel // (out_width * out_height * out_slices)
            origin = (od * stride_d - pad_front, oh * stride_h - pad_top, ow * stride_w - pad_left)
            source = image * x_image
            target = image * y_image + od * y_slice + oh * y_row + ow * y_pixel
            for f in range(LANES * column, together, LANES * step):
                several_filters(x, w, y, bias, source + f, target + f, f, all_filters, origin,
                                sizes, taps, dilations, strides)  # fmt: skip
            for f in range(together + column, all_filters, step):
                one_filter(x, w, y, bias, source + f // filters, target + f, f, all_filters,
                           origin, sizes, taps, dilations, strides)  # fmt: skip

    return Body(body, _launch)
