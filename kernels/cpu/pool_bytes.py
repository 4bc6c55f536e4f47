"""Average pooling of bytes in a scale of their own to bytes in another: sums are whole numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..quotients import reciprocal, rounded_quotient
from ..registry import kernel_factory
from ..simd import splat, splat_i32, to_f32, to_i32, vmax, vmin
from ..vector_memory import VECTOR_MEMORY
from .pool import POOL_FIELDS, counted
from .window import window_kernel


@njit
def divisor(count: int, inside: int, zero: int) -> Any:
    """Return what means of ``count`` bytes are made with: zero points of those inside, count."""
    number = np.float32(max(count, 1))
    return splat_i32(np.int32(inside * zero)), splat(number), reciprocal(number)


@njit
def mean(sums: Any, divisor: Any, ratio: Any, low: Any, high: Any) -> Any:
    """Return means in the result's scale, rounded half to even, before its zero point."""
    zeros, count, inverse = divisor
    whole = rounded_quotient(to_f32(sums - zeros) * ratio, count, inverse, True)
    return vmin(vmax(whole, low), high)


@kernel_factory
def average_pool_bytes(
    dtype: str, result: str, taps: int, stride: int, columns: int
) -> Callable[..., int]:
    """Build the mean over windows, like `pool.average_pool`, of ``"i8"`` or ``"u8"`` as either.

    ``ratio`` is the scale of ``x`` over that of ``y``. A mean, the sum times the ratio over the
    count, is rounded half to even. Sums are exact: of at most 2**23 bytes.
    """
    _, store, _, store_first = VECTOR_MEMORY[result]
    limits = np.iinfo(np.int8 if result == "i8" else np.uint8)
    return window_kernel(
        __name__,
        "average_pool_bytes",
        taps,
        stride,
        columns,
        fields=f"{POOL_FIELDS}, ratio: float, x_zero: int, y_zero: int",
        kind=dtype,
        neutral="float32(0.0)",
        start="s{j} = none",
        step="s{j} = s{j} + to_i32(v)",
        finish="mean(s{j}, w{j} if {edge} else whole, by, low, high) + point",
        setup="none = splat_i32(int32(0))\n"
        "by, point = splat(float32(ratio)), splat(float32(y_zero))\n"
        f"low, high = splat(float32({limits.min} - y_zero)), splat(float32({limits.max} - y_zero))",
        row="taps = counted(front, kernel_d, dilation_d, slices, pad_back, counting)\n"
        "taps *= counted(top, kernel_h, dilation_h, height, pad_bottom, counting)\n"
        "inside = max(kd_last - kd_first, 0) * max(kh_last - kh_first, 0)\n"
        "whole = divisor(taps * kernel_w, inside * kernel_w, x_zero)",
        column="left{j} = left + {j} * stride_w\n"
        "columns{j} = counted(left{j}, kernel_w, dilation_w, width, pad_right, counting)\n"
        "inside{j} = counted(left{j}, kernel_w, dilation_w, width, 0, 0)\n"
        "w{j} = divisor(taps * columns{j}, inside * inside{j}, x_zero)",
        counted=counted,
        divisor=divisor,
        mean=mean,
        int32=np.int32,
        splat_i32=splat_i32,
        to_i32=to_i32,
        store=store,
        store_first=store_first,
    )
