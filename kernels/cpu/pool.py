"""Average pooling and max pooling over any windows, channels last, float32; places of maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..fields import Sizes, Window
from ..registry import Pointer, kernel_factory
from ..simd import splat, store_i64
from .reduce_steps import TYPES, start_of
from .window import taps_inside, window_kernel

_F = np.float32


_FIELDS = " pad_bottom: int, pad_right: int, include_pad: int"


@kernel_factory
def max_pool_wide(stride: int, columns: int) -> Callable[..., int]:
    """Build the maximum over windows too large or too far spread for ``max_pool.max_pool``.

    Strides in elements; parameters as in ``window.window_kernel``. Output rows of all images are
    split into parts. NaN where a window has one.
    """
    # Where a NaN was is recorded beside the maximum, so that its chain of operations stays short.
    return window_kernel(
        __name__,
        "max_pool_wide",
        0,
        stride,
        columns,
        fields=_FIELDS,
        neutral="float32(-inf)",
        start="s{j}, n{j} = low, low != low",
        step="s{j} = vmax(s{j}, v)\nn{j} = n{j} | (v != v)",
        finish="select(n{j}, nan, s{j})",
        setup="low, nan = splat(float32(-inf)), splat(float32(inf) - float32(inf))",
        inf=np.inf,
    )


@njit
def _scale(
    left: int, size: int, dilation: int, width: int, padded: int, taps_h: int, include: int
) -> Any:
    first, last = taps_inside(left, size, dilation, width)
    if include != 0:
        first, last = 0, taps_inside(left, size, dilation, padded)[1]
    return splat(_F(1.0) / _F(max(taps_h * (last - first), 1)))


@kernel_factory
def average_pool(taps: int, stride: int, columns: int) -> Callable[..., int]:
    """Build the mean over windows, like `max_pool_wide`.

    With ``include_pad`` it counts the padding, but never what ceil_mode adds beyond it.
    """
    return window_kernel(
        __name__,
        "average_pool",
        taps,
        stride,
        columns,
        fields=_FIELDS,
        neutral="float32(0.0)",
        start="s{j} = zero",
        step="s{j} = s{j} + v",
        finish="s{j} * (w{j} if {edge} else whole)",
        setup="zero = splat(float32(0.0))",
        row="taps_h = kh_last - kh_first\n"
        "if include_pad != 0:\n"
        "    taps_h = taps_inside(top, kernel_h, dilation_h, height + pad_bottom)[1]\n"
        "whole = splat(float32(1.0) / float32(max(taps_h * kernel_w, 1)))",
        column="w{j} = scale(left + {j} * stride_w, kernel_w, dilation_w, width,"
        " width + pad_right, taps_h, include_pad)",
        scale=_scale,
    )


@kernel_factory
def max_pool_indices(dtype: str) -> Callable[..., int]:
    """Max-pool dense (N, C, H, W) images and give the flat index of each maximum (int64)."""
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    lowest = TYPES[dtype](start_of("max", TYPES[dtype]))

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, indices: Pointer, channels: int, sizes: Sizes, window: Window,
        column_major: int,
    ) -> int:  # fmt: skip
        planes = sizes.images * channels
        for plane in range(planes * part // parts, planes * until // parts):
            for h in range(sizes.out_height):
                top = h * window.stride_h - window.pad_top
                rows = taps_inside(top, window.kernel_h, window.dilation_h, sizes.height)
                for column in range(sizes.out_width):
                    left = column * window.stride_w - window.pad_left
                    columns = taps_inside(left, window.kernel_w, window.dilation_w, sizes.width)
                    best, best_index = lowest, -1
                    for i in range(rows[0], rows[1]):
                        for j in range(columns[0], columns[1]):
                            at_h, at_w = top + i * window.dilation_h, left + j * window.dilation_w
                            value = load(x, (plane * sizes.height + at_h) * sizes.width + at_w)
                            if best_index < 0 or value > best:
                                best = value
                                best_index = (
                                    at_w * sizes.height + at_h
                                    if column_major
                                    else at_h * sizes.width + at_w
                                )
                    out = (plane * sizes.out_height + h) * sizes.out_width + column
                    store(y, out, best)
                    store_i64(indices, out, plane * sizes.height * sizes.width + best_index)
        return 0

    return body
