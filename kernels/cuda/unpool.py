"""Elements put back to where they came from: MaxUnpool and Col2Im; fields of the CPU's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .elements import accesses
from .functions import device_function
from .indices import refuse
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, STORE, load_i64
from .numbers import SCOPE
from .threads import cuda


@cuda_factory
def unpool(itemsize: int) -> Body | None:
    """Store each of ``count`` elements at its flat index (int64) in y, which has ``size`` elements.

    Of indices that repeat any one's element remains.
    """
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(
        x: Pointer, indices: Pointer, y: Pointer, count: int, size: int, status: Pointer
    ) -> None:
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            at = load_i64(indices, i)
            if at < 0 or at >= size:
                refuse(status, at)
            else:
                store(y, at, load(x, i))

    return Body(body, elements_of("count"))


@device_function()
def _sum(a: Any, b: Any) -> Any:
    return a + b


@device_function()
def _either(a: Any, b: Any) -> Any:
    return a | b


@device_function("int64")
def _place(at: Any, tap: Any, dilation: Any, stride: Any, pad: Any, size: Any) -> Any:
    """Return which window's tap lies at a position; -1 if none's does."""
    offset = at + pad - tap * dilation
    if offset < 0 or offset % stride != 0 or offset // stride >= size:
        return -1
    return offset // stride


@cuda_factory
def add_blocks(dtype: str) -> Body:
    """Add up blocks, columns of x, where they lie in the images y; of bools one suffices.

    A thread for each element of y gathers what lies there, tap by tap.
    """
    kind = "u8" if dtype == "bool" else dtype
    load, store, cast = LOAD[kind], STORE[kind], SCOPE[f"cast_{kind}"]
    join: Any = _either if dtype == "bool" else _sum
    number: Any = np.uint8 if dtype == "bool" else cast

    def body(
        x: Pointer, y: Pointer, images: int, height: int, width: int, out_height: int,
        out_width: int, kernel_h: int, kernel_w: int, stride_h: int, stride_w: int,
        dilation_h: int, dilation_w: int, pad_top: int, pad_left: int, slices: int,
        out_slices: int, kernel_d: int, stride_d: int, dilation_d: int, pad_front: int,
        channels: int, status: Pointer,
    ) -> None:  # fmt: skip
        taps, positions = kernel_d * kernel_h * kernel_w, out_slices * out_height * out_width
        count = images * channels * slices * height * width
        for index in range(cuda.grid(1), count, cuda.gridsize(1)):
            w, h = index % width, index // width % height
            d = index // (width * height) % slices
            first = index // (width * height * slices) * taps
            total = number(0)
            for tap in range(taps):
                j, i = tap % kernel_w, tap // kernel_w % kernel_h
                k = tap // (kernel_w * kernel_h)
                z = _place(d, k, dilation_d, stride_d, pad_front, out_slices)
                v = _place(h, i, dilation_h, stride_h, pad_top, out_height)
                u = _place(w, j, dilation_w, stride_w, pad_left, out_width)
                if z >= 0 and v >= 0 and u >= 0:
                    at = (first + tap) * positions + (z * out_height + v) * out_width + u
                    total = number(join(total, load(x, at)))
            store(y, index, total)

    return Body(body, elements_of("images", "channels", "slices", "height", "width"))
