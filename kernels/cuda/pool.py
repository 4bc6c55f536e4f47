"""Pooling over windows, channels last."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import larger
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .max_pool_indices import max_pool_indices as max_pool_indices
from .memory import LOAD, STORE
from .threads import cuda


@device_function("int64")
def _counted(
    at: int, dilation: int, taps: int, size: int, before: int, after: int, counting: int
) -> int:
    """Return how many taps from a position on count: those inside, or also those of the padding."""
    if counting == 2:
        return 1
    low, high = (0, size) if counting == 0 else (-before, size + after)
    count = 0
    for tap in range(taps):
        if low <= at + tap * dilation < high:
            count += 1
    return count


def _launch(f: Fields, limits: Limits) -> Launch:
    pixels = f["images"] * f["out_slices"] * f["out_height"] * f["out_width"]
    return over_rows(pixels, f["channels"], limits)


@cuda_factory
def pool(kind: str, dtype: str) -> Body:
    """Compute maxima or means over windows, of channels with stride 1.

    What means are divided by: ``counting`` 0 the elements inside, 1 those of the padding, too, 2
    nothing. ``pad_back``, ``pad_bottom`` and ``pad_right`` are the padding behind.
    """
    load, store = LOAD[dtype], STORE[dtype]
    number: Any = {"f32": np.float32, "f64": np.float64, "i8": np.int8, "u8": np.uint8}[dtype]
    is_max = kind == "max"
    least: Any = -np.inf if dtype[0] == "f" else np.iinfo(number).min
    start = number(least if is_max else 0)

    def body(
        x: Pointer, y: Pointer, images: int, channels: int, slices: int, height: int, width: int,
        out_slices: int, out_height: int, out_width: int, kernel_d: int, kernel_h: int,
        kernel_w: int, stride_d: int, stride_h: int, stride_w: int, dilation_d: int,
        dilation_h: int, dilation_w: int, pad_front: int, pad_top: int, pad_left: int,
        x_image: int, x_slice: int, x_row: int, x_pixel: int, y_image: int, y_slice: int,
        y_row: int, y_pixel: int, pad_back: int, pad_bottom: int, pad_right: int, counting: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        pixels = images * out_slices * out_height * out_width
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            ow, oh = pixel % out_width, pixel // out_width % out_height
            od = pixel // (out_width * out_height) % out_slices
            image = pixel // (out_width * out_height * out_slices)
            left, top = ow * stride_w - pad_left, oh * stride_h - pad_top
            front = od * stride_d - pad_front
            source, target = image * x_image, image * y_image + od * y_slice + oh * y_row
            target += ow * y_pixel
            count = _counted(front, dilation_d, kernel_d, slices, pad_front, pad_back, counting)
            count *= _counted(top, dilation_h, kernel_h, height, pad_top, pad_bottom, counting)
            count *= _counted(left, dilation_w, kernel_w, width, pad_left, pad_right, counting)
            for channel in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                value = start
                for d in range(kernel_d):
                    z = front + d * dilation_d
                    for h in range(kernel_h):
                        v = top + h * dilation_h
                        for w in range(kernel_w):
                            u = left + w * dilation_w
                            if 0 <= z < slices and 0 <= v < height and 0 <= u < width:
                                at = source + z * x_slice + v * x_row + u * x_pixel + channel
                                if is_max:
                                    value = larger(value, load(x, at))
                                else:
                                    value += load(x, at)
                if not is_max:
                    value = number(value / number(max(count, 1)))
                store(y, target + channel, value)

    return Body(body, _launch)


@cuda_factory
def average_pool(
    taps: int, stride: int, columns: int, kind: str = "f32", forms: str = "all"
) -> Body | None:
    """Compute means, or sums, over windows; the parameters are forms of the CPU's kernel."""
    if kind not in ("f32", "f64"):
        return None
    whole = pool("mean", kind)
    return Body(whole.function, whole.launch)
