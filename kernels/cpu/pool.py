"""Average pooling and max pooling over any windows, channels last, float32; places of maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..fields import Depth, Sizes, Window
from ..registry import Pointer, kernel_factory
from ..simd import splat, store_i64
from .reduce_steps import TYPES, start_of
from .window import taps_inside, window_kernel

_F = np.float32


POOL_FIELDS = " pad_back: int, pad_bottom: int, pad_right: int, counting: int"
COUNTING = ("inside", "padding", "nothing")
"""What `average_pool` divides sums by: elements of the image, padding too, or not at all."""


@kernel_factory
def max_pool_wide(stride: int, columns: int) -> Callable[..., int]:
    """Build the maximum over windows too large or too far spread for ``max_pool.max_pool``.

    Strides in elements; parameters as in ``window.window_kernel``. Output rows of all slices are
    split into parts. NaN where a window has one.
    """
    # Where a NaN was is recorded beside the maximum, so that its chain of operations stays short.
    return window_kernel(
        __name__,
        "max_pool_wide",
        0,
        stride,
        columns,
        fields=POOL_FIELDS,
        neutral="float32(-inf)",
        start="s{j}, n{j} = low, low != low",
        step="s{j} = vmax(s{j}, v)\nn{j} = n{j} | (v != v)",
        finish="select(n{j}, nan, s{j})",
        setup="low, nan = splat(float32(-inf)), splat(float32(inf) - float32(inf))",
        inf=np.inf,
    )


@njit
def counted(at: int, size: int, dilation: int, limit: int, pad: int, counting: int) -> int:
    """Elements of a window along an axis that its mean is taken over."""
    if counting == 2:
        return 1
    first, last = taps_inside(at, size, dilation, limit)
    if counting == 1:
        first, last = 0, taps_inside(at, size, dilation, limit + pad)[1]
    return max(last - first, 0)


@njit
def _inverse(count: int) -> Any:
    return splat(_F(1.0) / _F(max(count, 1)))


@kernel_factory
def average_pool(
    taps: int, stride: int, columns: int, kind: str = "f32", forms: str = "all"
) -> Callable[..., int]:
    """Build the mean over windows, like `max_pool_wide`.

    ``counting`` is an index into `COUNTING`; what ceil_mode adds beyond the padding never counts.
    """
    return window_kernel(
        __name__,
        "average_pool",
        taps,
        stride,
        columns,
        fields=POOL_FIELDS,
        neutral="float32(0.0)",
        start="s{j} = zero",
        step="s{j} = s{j} + v",
        finish="s{j} * (w{j} if {edge} else whole)",
        kind=kind,
        forms=forms,
        setup="zero = splat(float32(0.0))",
        row="taps = counted(front, kernel_d, dilation_d, slices, pad_back, counting)\n"
        "taps *= counted(top, kernel_h, dilation_h, height, pad_bottom, counting)\n"
        "whole = inverse(taps * (1 if counting == 2 else kernel_w))",
        column="w{j} = inverse(taps * counted(left + {j} * stride_w, kernel_w, dilation_w, width,"
        " pad_right, counting))",
        counted=counted,
        inverse=_inverse,
    )


@kernel_factory
def max_pool_indices(dtype: str) -> Callable[..., int]:
    """Max-pool dense (N, C, D, H, W) volumes and give the flat index of each maximum (int64)."""
    number = TYPES[dtype]
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    lowest, itemsize = number(start_of("max", number)), np.dtype(number).itemsize

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, indices: Pointer, channels: int, sizes: Sizes, window: Window,
        depth: Depth, column_major: int,
    ) -> int:  # fmt: skip
        slice_size = sizes.height * sizes.width
        rows = sizes.images * channels * depth.out_slices * sizes.out_height
        for row in range(rows * part // parts, rows * until // parts):
            h, plane = row % sizes.out_height, row // sizes.out_height // depth.out_slices
            front = row // sizes.out_height % depth.out_slices * depth.stride_d - depth.pad_front
            top = h * window.stride_h - window.pad_top
            slices = taps_inside(front, depth.kernel_d, depth.dilation_d, depth.slices)
            lines = taps_inside(top, window.kernel_h, window.dilation_h, sizes.height)
            first = plane * depth.slices * slice_size
            source = x + first * itemsize
            for column in range(sizes.out_width):
                left = column * window.stride_w - window.pad_left
                columns = taps_inside(left, window.kernel_w, window.dilation_w, sizes.width)
                best, at = lowest, -1
                for k in range(slices[0], slices[1]):
                    for i in range(lines[0], lines[1]):
                        line = (front + k * depth.dilation_d) * slice_size + left
                        line += (top + i * window.dilation_h) * sizes.width
                        for j in range(columns[0], columns[1]):
                            here = line + j * window.dilation_w
                            value = load(source, here)
                            # Choices, no branches: which one is taken cannot be foretold.
                            better = (at < 0) | (value > best)
                            best = value if better else best
                            at = here if better else at
                index = at
                if column_major and at >= 0:
                    w, h, d = at % sizes.width, at // sizes.width % sizes.height, at // slice_size
                    index = (w * sizes.height + h) * depth.slices + d
                store(y, row * sizes.out_width + column, best)
                store_i64(indices, row * sizes.out_width + column, first + index)
        return 0

    return body
