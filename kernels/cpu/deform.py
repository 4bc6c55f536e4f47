"""Columns of a deformable convolution: what each element of its window reads, channels last.

Each element of a window reads at its own place, moved by an offset that is data, between pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..fields import Sizes, Window
from ..lanes import lanes_of
from ..registry import Pointer, kernel_factory
from ..simd import load_i64, stack_words, store_i64

_FAR = 2.0**30


def _reader(dtype: str) -> tuple[Any, Any]:
    """Return functions that find the pixels beside a position, and read between them."""
    lanes, number = lanes_of(dtype), lanes_of(dtype).number
    load, store, most = lanes.load, lanes.store, lanes.width
    load_first, store_first, splat, fma = (
        lanes.load_first, lanes.store_first, lanes.splat, lanes.fma,
    )  # fmt: skip

    @njit
    def neighbours(at: Any, size: int, stride: int, offsets: Pointer, weights: Pointer) -> None:
        """Store both neighbours of a position and their weights, 0 outside of the image."""
        far = number(_FAR)
        at = min(max(at, -far), far) if at == at else -far
        low = np.int64(math.floor(at))
        share = at - number(low)
        for i in range(2):
            is_inside = 0 <= low + i < size
            store_i64(offsets, i, (low + i) * stride if is_inside else 0)
            weight = share if i == 1 else number(1.0) - share
            store(weights, i, weight if is_inside else number(0.0))

    @njit
    def read(
        x: Pointer, y: Pointer, first: int, last: int, group: int, group_columns: int,
        rows: Pointer, row_weights: Pointer, columns: Pointer, column_weights: Pointer, factor: Any,
    ) -> None:  # fmt: skip
        """Store channels ``first`` to ``last`` of a place; ``group`` of them lie side by side."""
        c = first
        while c < last:
            count = min(min(last, (c // group + 1) * group) - c, most)
            total = splat(number(0.0))
            for i in range(2):
                for j in range(2):
                    weight = load(row_weights, i) * load(column_weights, j) * factor
                    if weight != number(0.0):
                        at = load_i64(rows, i) + load_i64(columns, j) + c
                        total = fma(load_first(x, at, count), splat(weight), total)
            store_first(y, c // group * group_columns + c % group, total, count)
            c += count

    return neighbours, read


@kernel_factory
def deformed_columns(dtype: str) -> Callable[..., int]:
    """columns[pixel, group, tap, channel of the group] = x beside the tap, times the mask.

    ``offsets`` are (N, offset_groups, taps, 2, out_height, out_width), the mask without the 2, or
    nothing; both and the columns are dense. Rows of output pixels are split into parts.
    """
    number, size, load = lanes_of(dtype).number, lanes_of(dtype).itemsize, lanes_of(dtype).load
    neighbours, read = _reader(dtype)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, offsets: Pointer,
        mask: Pointer, columns: Pointer, sizes: Sizes, window: Window, channels: int, groups: int,
        offset_groups: int, x_image: int, x_row: int, x_pixel: int,
    ) -> int:  # fmt: skip
        at_rows, row_weights, at_columns, column_weights = (
            stack_words(2), stack_words(2), stack_words(2), stack_words(2),
        )  # fmt: skip
        taps, plane = window.kernel_h * window.kernel_w, sizes.out_height * sizes.out_width
        group, each = channels // groups, channels // offset_groups
        lines = sizes.images * sizes.out_height
        for line in range(lines * part // parts, lines * until // parts):
            image, h = line // sizes.out_height, line % sizes.out_height
            source = x + image * x_image * size
            for w in range(sizes.out_width):
                target = columns + (line * sizes.out_width + w) * taps * channels * size
                for own in range(offset_groups):
                    for tap in range(taps):
                        i, j = tap // window.kernel_w, tap % window.kernel_w
                        place = (image * offset_groups + own) * taps + tap
                        pixel = h * sizes.out_width + w
                        top = h * window.stride_h - window.pad_top + i * window.dilation_h
                        left = w * window.stride_w - window.pad_left + j * window.dilation_w
                        v = number(top) + load(offsets, 2 * place * plane + pixel)
                        u = number(left) + load(offsets, (2 * place + 1) * plane + pixel)
                        factor = number(1.0)
                        if mask != 0:
                            factor = load(mask, place * plane + pixel)
                        neighbours(v, sizes.height, x_row, at_rows, row_weights)
                        neighbours(u, sizes.width, x_pixel, at_columns, column_weights)
                        read(
                            source, target + tap * group * size, own * each, (own + 1) * each,
                            group, taps * group, at_rows, row_weights, at_columns, column_weights,
                            factor,
                        )  # fmt: skip
        return 0

    return body
