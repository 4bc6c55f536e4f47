"""Max and average pooling of element types other than float32, channels last.

A pixel of the result is made tap by tap, all its channels at a time; loops over channels are such
as LLVM makes vectors of.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from .. import simd
from ..fields import Sizes, Strides, Window
from ..registry import Pointer, kernel_factory
from .reduce_steps import STEPS, TYPES, add, start_of
from .window import taps_inside


@kernel_factory
def pool_numbers(kind: str, dtype: str) -> Callable[..., int]:
    """Build ``max`` or ``mean`` pooling over any windows; fields of `pool.average_pool`.

    Rows of all images are split into parts. NaN where a maximum has one.
    """
    number = TYPES[dtype]
    size = np.dtype(number).itemsize
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    step = STEPS.get(kind, add)
    start = number(start_of(kind, number))
    is_mean = kind == "mean"

    @njit
    def pixel(
        source: Pointer, target: Pointer, channels: int, rows: tuple[int, int],
        columns: tuple[int, int], row: int, column: int,
    ) -> None:  # fmt: skip
        """Take all taps of one pixel; rows and columns of taps are so many bytes apart."""
        for c in range(channels):
            store(target, c, start)
        for i in range(rows[0], rows[1]):
            for j in range(columns[0], columns[1]):
                at = source + i * row + j * column
                for c in range(channels):
                    store(target, c, number(step(load(target, c), load(at, c))))

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, channels: int, sizes: Sizes, window: Window, strides: Strides,
        pad_bottom: int, pad_right: int, include_pad: int,
    ) -> int:  # fmt: skip
        lines = sizes.images * sizes.out_height
        row, column = window.dilation_h * strides.x_row, window.dilation_w * strides.x_pixel
        for line in range(lines * part // parts, lines * until // parts):
            image, h = line // sizes.out_height, line % sizes.out_height
            top = h * window.stride_h - window.pad_top
            rows = taps_inside(top, window.kernel_h, window.dilation_h, sizes.height)
            source = x + (image * strides.x_image + top * strides.x_row) * size
            target = y + (image * strides.y_image + h * strides.y_row) * size
            for w in range(sizes.out_width):
                left = w * window.stride_w - window.pad_left
                columns = taps_inside(left, window.kernel_w, window.dilation_w, sizes.width)
                pixel(
                    source + left * strides.x_pixel * size, target, channels, rows, columns,
                    row * size, column * size,
                )  # fmt: skip
                if is_mean:
                    if include_pad != 0:
                        count = taps_inside(
                            top, window.kernel_h, window.dilation_h, sizes.height + pad_bottom
                        )[1]
                        count *= taps_inside(
                            left, window.kernel_w, window.dilation_w, sizes.width + pad_right
                        )[1]
                    else:
                        count = (rows[1] - rows[0]) * (columns[1] - columns[0])
                    factor = 1.0 / max(count, 1)
                    for c in range(channels):
                        store(target, c, number(load(target, c) * factor))
                target += strides.y_pixel * size
        return 0

    return body
