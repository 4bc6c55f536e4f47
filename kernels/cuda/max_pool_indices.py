"""Maxima over windows with their places."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, STORE, store_i64
from .threads import cuda

_TYPES: dict[str, Any] = {"f32": np.float32, "f64": np.float64, "i8": np.int8, "u8": np.uint8}
_ELEMENTS = ("images", "channels", "out_slices", "out_height", "out_width")


@cuda_factory
def max_pool_indices(dtype: str) -> Body | None:
    """Max-pool dense (N, C, D, H, W) volumes and give the flat index of each maximum (int64).

    The fields are those of the CPU's kernel.
    """
    if dtype not in _TYPES:
        return None
    number, load, store = _TYPES[dtype], LOAD[dtype], STORE[dtype]
    lowest = number(-np.inf if dtype[0] == "f" else np.iinfo(number).min)

    def body(
        x: Pointer, y: Pointer, indices: Pointer, channels: int, images: int, height: int,
        width: int, out_height: int, out_width: int, kernel_h: int, kernel_w: int, stride_h: int,
        stride_w: int, dilation_h: int, dilation_w: int, pad_top: int, pad_left: int, slices: int,
        out_slices: int, kernel_d: int, stride_d: int, dilation_d: int, pad_front: int,
        column_major: int, status: Pointer,
    ) -> None:  # fmt: skip
        count = images * channels * out_slices * out_height * out_width
        for index in range(cuda.grid(1), count, cuda.gridsize(1)):
            left = index % out_width * stride_w - pad_left
            top = index // out_width % out_height * stride_h - pad_top
            rest = index // (out_width * out_height)
            front = rest % out_slices * stride_d - pad_front
            first = rest // out_slices * slices * height * width
            best, at = lowest, -1
            for k in range(kernel_d):
                z = front + k * dilation_d
                for i in range(kernel_h):
                    v = top + i * dilation_h
                    for j in range(kernel_w):
                        u = left + j * dilation_w
                        if 0 <= z < slices and 0 <= v < height and 0 <= u < width:
                            here = (z * height + v) * width + u
                            value = load(x, first + here)
                            if at < 0 or value > best:
                                best, at = value, here
            if column_major != 0 and at >= 0:
                w, h, d = at % width, at // width % height, at // (width * height)
                at = (w * height + h) * slices + d
            store(y, index, best)
            store_i64(indices, index, first + at)

    return Body(body, elements_of(*_ELEMENTS))
