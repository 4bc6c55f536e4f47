"""Columns of a deformable convolution: what each element of its window reads, channels last.

A thread has a channel of an element. The fields are those of the CPU's kernel.
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
from .threads import cuda

_FAR = 2.0**30
_NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}


@device_function()
def _between(value: Any, far: Any) -> Any:
    """Limit a position; NaN is far away."""
    return min(max(value, -far), far) if value == value else -far


def _launch(f: Fields, limits: Limits) -> Launch:
    places = f["images"] * f["out_height"] * f["out_width"] * f["kernel_h"] * f["kernel_w"]
    return over_rows(places, f["channels"], limits)


@cuda_factory
def deformed_columns(dtype: str) -> Body:
    """columns[pixel, group, tap, channel of the group] = x beside the tap, times the mask."""
    load, store, number = LOAD[dtype], STORE[dtype], _NUMBERS[dtype]

    def body(
        x: Pointer, offsets: Pointer, mask: Pointer, columns: Pointer, images: int, height: int,
        width: int, out_height: int, out_width: int, kernel_h: int, kernel_w: int, stride_h: int,
        stride_w: int, dilation_h: int, dilation_w: int, pad_top: int, pad_left: int,
        channels: int, groups: int, offset_groups: int, x_image: int, x_row: int, x_pixel: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        taps, plane = kernel_h * kernel_w, out_height * out_width
        group, each = channels // groups, channels // offset_groups
        for place in range(first, images * plane * taps, cuda.gridDim.y * cuda.blockDim.y):
            tap, pixel = place % taps, place // taps % plane
            image = place // (taps * plane)
            h, w = pixel // out_width, pixel % out_width
            top = h * stride_h - pad_top + tap // kernel_w * dilation_h
            left = w * stride_w - pad_left + tap % kernel_w * dilation_w
            target = (image * plane + pixel) * taps * channels + tap * group
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                own = (image * offset_groups + c // each) * taps + tap
                v = number(top) + load(offsets, 2 * own * plane + pixel)
                u = number(left) + load(offsets, (2 * own + 1) * plane + pixel)
                v, u = _between(v, number(_FAR)), _between(u, number(_FAR))
                row, at = np.int64(math.floor(v)), np.int64(math.floor(u))
                down, across = v - number(row), u - number(at)
                total = number(0)
                for i in range(2):
                    for j in range(2):
                        is_inside = row + i >= 0 and row + i < height
                        if is_inside and at + j >= 0 and at + j < width:
                            weight = down if i == 1 else number(1) - down
                            weight *= across if j == 1 else number(1) - across
                            near = image * x_image + (row + i) * x_row + (at + j) * x_pixel
                            if weight != 0:
                                total += load(x, near + c) * weight
                if mask != 0:
                    total *= load(mask, own * plane + pixel)
                store(columns, target + c // group * taps * group + c % group, total)

    return Body(body, _launch)
