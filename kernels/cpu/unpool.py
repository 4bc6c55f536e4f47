"""Elements put back to where they came from: MaxUnpool and Col2Im."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..fields import Depth, Sizes, Window
from ..registry import Pointer, kernel_factory
from ..simd import load_f32, load_i64, store_f32, store_u8, vload, vload_first, vstore, vstore_first
from ..target import LANES
from .elements import element
from .indices import out_of_range
from .reduce_steps import TYPES, add


@kernel_factory
def unpool(itemsize: int) -> Callable[..., int]:
    """Store each of ``count`` elements at its flat index (int64) in y, which has ``size`` elements.

    One part works, for indices may repeat.
    """
    load, store = element(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, indices: Pointer, y: Pointer, count: int, size: int,
    ) -> int:  # fmt: skip
        if part > 0:
            return 0
        for i in range(count):
            at = load_i64(indices, i)
            if at < 0 or at >= size:
                return out_of_range(at)
            store(y, at, load(x, i))
        return 0

    return body


@njit
def _first_inside(offset: int, stride: int, limit: int) -> int:
    """First of the positions ``i * stride + offset`` that is ``limit`` or more, from i = 0 on."""
    return max(0, (limit - offset + stride - 1) // stride)


@njit
def _add_floats(x: Pointer, y: Pointer, count: int, stride: int) -> None:
    """Add float32 to every ``stride``-th one."""
    i = 0
    while stride == 1 and i + LANES <= count:
        vstore(y, i, vload(y, i) + vload(x, i))
        i += LANES
    if stride == 1 and i < count:
        total = vload_first(y, i, count - i) + vload_first(x, i, count - i)
        vstore_first(y, i, total, count - i)
        return
    for j in range(i, count):
        store_f32(y, j * stride, load_f32(y, j * stride) + load_f32(x, j))


def _row_adder(dtype: str) -> tuple[int, Any]:
    """Return the size of an element, and a function that adds some to every ``stride``-th one."""
    if dtype == "f32":
        return 4, _add_floats
    number = TYPES["u8" if dtype == "bool" else dtype]
    name = "u8" if dtype == "bool" else dtype
    load, store = getattr(simd, f"load_{name}"), getattr(simd, f"store_{name}")
    join = _either if dtype == "bool" else add

    @njit
    def add_row(x: Pointer, y: Pointer, count: int, stride: int) -> None:
        for j in range(count):
            store(y, j * stride, number(join(load(y, j * stride), load(x, j))))

    return np.dtype(number).itemsize, add_row


@njit
def _clear(y: Pointer, count: int) -> None:
    for i in range(count):
        store_u8(y, i, 0)


@njit
def _either(a: Any, b: Any) -> Any:
    return a | b


@kernel_factory
def add_blocks(dtype: str) -> Callable[..., int]:
    """Add up blocks, columns of x, where they lie in the images y; of bools one suffices.

    x is a dense (images, channels, taps of a block, positions) array, y a dense (images, channels,
    slices, height, width) one. Planes of all channels are split into parts.
    """
    itemsize, add_row = _row_adder(dtype)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sizes: Sizes, window: Window, depth: Depth, channels: int,
    ) -> int:  # fmt: skip
        taps = depth.kernel_d * window.kernel_h * window.kernel_w
        slice_size = sizes.height * sizes.width
        row = sizes.out_width
        planes = sizes.images * channels
        for plane in range(planes * part // parts, planes * until // parts):
            image = y + plane * depth.slices * slice_size * itemsize
            _clear(image, depth.slices * slice_size * itemsize)
            for tap in range(taps):
                lines = (plane * taps + tap) * depth.out_slices * sizes.out_height
                column = x + lines * row * itemsize
                w = tap % window.kernel_w * window.dilation_w - window.pad_left
                h = tap // window.kernel_w % window.kernel_h * window.dilation_h - window.pad_top
                d = tap // window.kernel_w // window.kernel_h * depth.dilation_d - depth.pad_front
                first = _first_inside(w, window.stride_w, 0)
                count = min(row, _first_inside(w, window.stride_w, sizes.width)) - first
                for line in range(depth.out_slices * sizes.out_height):
                    at_d = line // sizes.out_height * depth.stride_d + d
                    at_h = line % sizes.out_height * window.stride_h + h
                    if at_d < 0 or at_d >= depth.slices or at_h < 0 or at_h >= sizes.height:
                        continue
                    at = at_d * slice_size + at_h * sizes.width + first * window.stride_w + w
                    source = column + (line * row + first) * itemsize
                    add_row(source, image + at * itemsize, count, window.stride_w)
        return 0

    return body
