"""Columns of a deformable convolution: what each element of its window reads, channels last.

Each element of a window reads at its own place, moved by an offset that is data, between pixels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ..fields import Sizes, Window
from ..registry import Pointer, kernel
from ..simd import (
    fma,
    load_f32,
    load_i64,
    splat,
    stack_words,
    store_f32,
    store_i64,
    vload_first,
    vstore_first,
)
from ..target import LANES

_F = np.float32
_FAR = _F(2.0**30)


@njit
def _neighbours(at: Any, size: int, stride: int, offsets: Pointer, weights: Pointer) -> None:
    """Store both neighbours of a position and their weights, 0 outside of the image."""
    at = min(max(at, -_FAR), _FAR) if at == at else -_FAR
    low = np.int64(math.floor(at))
    share = at - _F(low)
    for i in range(2):
        is_inside = 0 <= low + i < size
        store_i64(offsets, i, (low + i) * stride if is_inside else 0)
        weight = share if i == 1 else _F(1.0) - share
        store_f32(weights, i, weight if is_inside else _F(0.0))


@njit
def _read(
    x: Pointer, y: Pointer, first: int, last: int, group: int, group_columns: int, rows: Pointer,
    row_weights: Pointer, columns: Pointer, column_weights: Pointer, factor: Any,
) -> None:  # fmt: skip
    """Store channels ``first`` to ``last`` of a place; ``group`` of them lie beside each other."""
    c = first
    while c < last:
        count = min(min(last, (c // group + 1) * group) - c, LANES)
        total = splat(_F(0.0))
        for i in range(2):
            for j in range(2):
                weight = load_f32(row_weights, i) * load_f32(column_weights, j) * factor
                if weight != _F(0.0):
                    at = load_i64(rows, i) + load_i64(columns, j) + c
                    total = fma(vload_first(x, at, count), splat(weight), total)
        vstore_first(y, c // group * group_columns + c % group, total, count)
        c += count


@kernel
def deformed_columns(
    thread: int, part: int, until: int, parts: int, x: Pointer, offsets: Pointer, mask: Pointer,
    columns: Pointer, sizes: Sizes, window: Window, channels: int, groups: int,
    offset_groups: int, x_image: int, x_row: int, x_pixel: int,
) -> int:  # fmt: skip
    """columns[pixel, group, tap, channel of the group] = x beside the tap, times the mask.

    ``offsets`` are (N, offset_groups, taps, 2, out_height, out_width), the mask without the 2, or
    nothing; both and the columns are dense, f32. Rows of output pixels are split into parts.
    """
    at_rows, row_weights, at_columns, column_weights = (
        stack_words(2), stack_words(1), stack_words(2), stack_words(1),
    )  # fmt: skip
    taps, plane = window.kernel_h * window.kernel_w, sizes.out_height * sizes.out_width
    group, each = channels // groups, channels // offset_groups
    lines = sizes.images * sizes.out_height
    for line in range(lines * part // parts, lines * until // parts):
        image, h = line // sizes.out_height, line % sizes.out_height
        source = x + image * x_image * 4
        for w in range(sizes.out_width):
            target = columns + (line * sizes.out_width + w) * taps * channels * 4
            for own in range(offset_groups):
                for tap in range(taps):
                    i, j = tap // window.kernel_w, tap % window.kernel_w
                    number = (image * offset_groups + own) * taps + tap
                    pixel = h * sizes.out_width + w
                    top = h * window.stride_h - window.pad_top + i * window.dilation_h
                    left = w * window.stride_w - window.pad_left + j * window.dilation_w
                    v = _F(top) + load_f32(offsets, 2 * number * plane + pixel)
                    u = _F(left) + load_f32(offsets, (2 * number + 1) * plane + pixel)
                    factor = _F(1.0)
                    if mask != 0:
                        factor = load_f32(mask, number * plane + pixel)
                    _neighbours(v, sizes.height, x_row, at_rows, row_weights)
                    _neighbours(u, sizes.width, x_pixel, at_columns, column_weights)
                    _read(source, target + tap * group * 4, own * each, (own + 1) * each, group,
                          taps * group, at_rows, row_weights, at_columns, column_weights,
                          factor)  # fmt: skip
    return 0
