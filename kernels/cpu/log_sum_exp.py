"""ReduceLogSumExp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from .reduce import share
from .reduce_steps import TYPES, larger


@kernel_factory
def log_sum_exp(dtype: str) -> Callable[..., int]:
    """Compute log(sum(exp(x))), the maximum taken out first; float64 inside, scalar.

    Fields as of ``reduce``.
    """
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    result_type = TYPES[dtype]
    size = np.dtype(result_type).itemsize

    @njit(error_model="numpy")
    def one(
        x: Pointer, r0: int, r1: int, r2: int, r3: int, a0: int, a1: int, a2: int, a3: int
    ) -> Any:
        top, total = -np.inf, 0.0
        for turn in range(2):
            for j0 in range(r0):
                for j1 in range(r1):
                    for j2 in range(r2):
                        at = x + (j0 * a0 + j1 * a1 + j2 * a2) * size
                        for j3 in range(r3):
                            value = np.float64(load(at, j3 * a3))
                            if turn == 0:
                                top = larger(top, value)
                            else:
                                total += np.exp(value - top)
            if np.isinf(top):
                return top
        return top + np.log(total)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int,
    ) -> int:  # fmt: skip
        begin, end, c_begin, c_end = share(part, until, parts, k0 * k1 * k2, k3)
        for index in range(begin, end):
            i2, i1, i0 = index % k2, index // k2 % k1, index // k2 // k1
            source = x + (i0 * xk0 + i1 * xk1 + i2 * xk2) * size
            target = y + (i0 * yk0 + i1 * yk1 + i2 * yk2) * size
            for c in range(c_begin, c_end):
                total = one(source + c * xk3 * size, r0, r1, r2, r3, xr0, xr1, xr2, xr3)
                store(target, c * yk3, result_type(total))
        return 0

    return body
