"""Reductions over any axes, and the operators made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import MANY, Pointer, kernel_factory
from ..target import LANES
from .reduce_steps import (
    FINISHES,
    STEPS,
    TYPES,
    add,
    few_loop,
    number_loops,
    same,
    start_of,
    sum_type,
)
from .reduce_vectors import are_rows, vector_loops


@kernel_factory
def reduce(kind: str, dtype: str) -> Callable[..., int]:
    """Reduce up to four axes and keep up to four; outermost first, unused sizes 1.

    ``k*`` are the remaining sizes with strides of x and y, ``r*`` the reduced ones with strides of
    x. Vectors are used when the last remaining or the last reduced axis has stride 1.
    Integers accumulate in 64 bits. A maximum or minimum of NaN is NaN; of nothing, the least or
    greatest number; a mean of nothing is 0. Remaining positions are split into parts.
    """
    result_type = TYPES[dtype]
    wide = sum_type(kind, result_type)
    start = wide(start_of(kind, result_type))
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    step = STEPS.get(kind, add)
    between = step if kind in ("max", "min", "prod") else add
    finish = njit(error_model="numpy")(FINISHES.get(kind, same))
    columns, contiguous = number_loops(kind, dtype)
    rows: Any = few_loop
    is_vector = dtype == "f32"
    if is_vector:
        columns, contiguous, rows = vector_loops(kind)
    few = few_loop(kind, dtype)
    size = np.dtype(result_type).itemsize

    @njit
    def one(
        x: Pointer, r0: int, r1: int, r2: int, r3: int, a0: int, a1: int, a2: int, a3: int
    ) -> Any:
        """Reduce all that belongs to one element of the result."""
        total = start
        for j0 in range(r0):
            for j1 in range(r1):
                for j2 in range(r2):
                    at = x + (j0 * a0 + j1 * a1 + j2 * a2) * size
                    part = start
                    if a3 == 1:
                        part = wide(contiguous(at, r3))
                    else:
                        for j3 in range(r3):
                            part = wide(step(part, wide(load(at, j3 * a3))))
                    total = wide(between(total, part))
        return total

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int,
    ) -> int:  # fmt: skip
        count = max(1, r0 * r1 * r2 * r3)
        by_column = xk3 == 1 and yk3 == 1 and k3 > 1
        outer = k0 * k1 * k2
        begin, end, c_begin, c_end = share(part, until, parts, outer, k3)
        for index in range(begin, end):
            i2, i1, i0 = index % k2, index // k2 % k1, index // k2 // k1
            source = x + (i0 * xk0 + i1 * xk1 + i2 * xk2) * size
            target = y + (i0 * yk0 + i1 * yk1 + i2 * yk2) * size
            if by_column:
                columns(
                    source + c_begin * size, target + c_begin * size, c_end - c_begin,
                    r0, r1, r2, r3, xr0, xr1, xr2, xr3, count,
                )  # fmt: skip
                continue
            if is_vector and k3 > 1 and xr3 == 1 and r3 == count and are_rows(r3, xk3):
                at, n = source + c_begin * xk3 * size, c_end - c_begin
                rows(at, target + c_begin * yk3 * size, n, r3, xk3, yk3)
                continue
            if count <= LANES // 2:  # half a vector is not worth what one is
                few(
                    source + c_begin * xk3 * size, target + c_begin * yk3 * size, c_end - c_begin,
                    xk3, yk3, r0, r1, r2, r3, xr0, xr1, xr2, xr3, count,
                )  # fmt: skip
                continue
            for c in range(c_begin, c_end):
                at = source + c * xk3 * size
                total = one(at, r0, r1, r2, r3, xr0, xr1, xr2, xr3)
                store(target, c * yk3, result_type(finish(total, wide(count))))
        return 0

    return body


@njit
def share(part: int, until: int, parts: int, outer: int, inner: int) -> Any:
    """Split outer x inner remaining positions: (first, last) of the outer and of the inner axis.

    The inner axis is split where four vectors begin, which are reduced side by side: results must
    not depend on the split.
    """
    chunk = 4 * LANES
    if outer >= MANY or inner <= chunk:
        return outer * part // parts, outer * until // parts, 0, inner
    chunks = (inner + chunk - 1) // chunk
    begin, end = chunks * part // parts * chunk, chunks * until // parts * chunk
    return 0, outer, min(inner, begin), min(inner, end)
