"""Max and average pooling of element types other than float32, channels last.

A pixel of the result is made tap by tap, all its channels at a time; loops over channels are such
as LLVM makes vectors of.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from .. import simd
from ..fields import Depth, Sizes, Strides, Window
from ..registry import Pointer, kernel_factory
from .pool import counted
from .reduce_steps import STEPS, TYPES, add, start_of
from .window import taps_inside


@kernel_factory
def pool_numbers(kind: str, dtype: str) -> Callable[..., int]:
    """Build ``max`` or ``mean`` pooling over any windows; fields of `pool.average_pool`.

    Rows of all slices are split into parts. NaN where a maximum has one.
    """
    number = TYPES[dtype]
    size = np.dtype(number).itemsize
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    step = STEPS.get(kind, add)
    start = number(start_of(kind, number))
    is_mean = kind == "mean"

    @njit
    def pixel(
        source: Pointer, target: Pointer, channels: int, slices: tuple[int, int],
        rows: tuple[int, int], columns: tuple[int, int], apart: int, row: int, column: int,
    ) -> None:  # fmt: skip
        """Take all taps of one pixel, which are so many bytes apart along each axis."""
        for c in range(channels):
            store(target, c, start)
        for k in range(slices[0], slices[1]):
            for i in range(rows[0], rows[1]):
                for j in range(columns[0], columns[1]):
                    at = source + k * apart + i * row + j * column
                    for c in range(channels):
                        store(target, c, number(step(load(target, c), load(at, c))))

    @njit
    def divide(target: Pointer, channels: int, count: int) -> None:
        """Make means of sums."""
        factor = 1.0 / max(count, 1)
        for c in range(channels):
            store(target, c, number(load(target, c) * factor))

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, channels: int, sizes: Sizes, window: Window, depth: Depth,
        strides: Strides, pad_back: int, pad_bottom: int, pad_right: int, counting: int,
    ) -> int:  # fmt: skip
        lines = sizes.images * depth.out_slices * sizes.out_height
        apart = depth.dilation_d * depth.x_slice * size
        row, column = window.dilation_h * strides.x_row, window.dilation_w * strides.x_pixel
        for line in range(lines * part // parts, lines * until // parts):
            h, d = line % sizes.out_height, line // sizes.out_height % depth.out_slices
            image = line // sizes.out_height // depth.out_slices
            front = d * depth.stride_d - depth.pad_front
            top = h * window.stride_h - window.pad_top
            slices = taps_inside(front, depth.kernel_d, depth.dilation_d, depth.slices)
            rows = taps_inside(top, window.kernel_h, window.dilation_h, sizes.height)
            source = image * strides.x_image + front * depth.x_slice + top * strides.x_row
            target = image * strides.y_image + d * depth.y_slice + h * strides.y_row
            source, target = x + source * size, y + target * size
            taps = counted(
                front, depth.kernel_d, depth.dilation_d, depth.slices, pad_back, counting
            ) * counted(
                top, window.kernel_h, window.dilation_h, sizes.height, pad_bottom, counting
            )  # fmt: skip
            for w in range(sizes.out_width):
                left = w * window.stride_w - window.pad_left
                columns = taps_inside(left, window.kernel_w, window.dilation_w, sizes.width)
                pixel(
                    source + left * strides.x_pixel * size, target, channels, slices, rows,
                    columns, apart, row * size, column * size,
                )  # fmt: skip
                if is_mean:
                    divide(target, channels, taps * counted(
                        left, window.kernel_w, window.dilation_w, sizes.width, pad_right, counting
                    ))  # fmt: skip
                target += strides.y_pixel * size
        return 0

    return body
