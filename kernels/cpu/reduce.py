"""Reductions over any axes, and the operators made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd, vmath
from ..registry import MANY, Pointer, kernel_factory
from ..simd import (
    any_lane,
    extract,
    load_f32,
    reduce_add,
    reduce_max,
    reduce_min,
    splat,
    vabs,
    vload,
    vload_first,
    vmax,
    vmin,
    vstore,
    vstore_first,
)
from ..target import LANES
from .reduce_steps import (
    FINISHES,
    STEPS,
    TYPES,
    add,
    few_loop,
    multiply,
    number_loops,
    same,
    square_in,
    start_of,
    sum_type,
)

_F = np.float32
_RUN = 256  # elements an accumulator takes before it is added to the total
_ALIGNED = 8
"""Vectors and rows from which columns are worth some twice, so that others are aligned."""


@njit
def _vabs_in(a: Any, b: Any) -> Any:
    return a + vabs(b)


@njit
def _vlarger(a: Any, b: Any) -> Any:
    # The operand that may be NaN must come first; a NaN already found stays.
    return simd.select(a != a, a, vmax(b, a))


@njit
def _vsmaller(a: Any, b: Any) -> Any:
    return simd.select(a != a, a, vmin(b, a))


@njit
def _across_max(a: Any) -> Any:
    return _F(np.nan) if any_lane(a != a) else reduce_max(a)


@njit
def _across_min(a: Any) -> Any:
    return _F(np.nan) if any_lane(a != a) else reduce_min(a)


@njit
def _across_prod(a: Any) -> Any:
    result = _F(1.0)
    for lane in range(LANES):
        result *= extract(a, lane)
    return result


_VECTOR_STEP = {"max": _vlarger, "min": _vsmaller, "prod": multiply, "sum_square": square_in,
                "l1": _vabs_in, "l2": square_in}  # fmt: skip
_VECTOR_FINISH: dict[str, Callable[[Any, Any], Any]] = {
    "mean": lambda total, count: total / splat(count),
    "l2": lambda total, count: simd.vsqrt(total),
    "log_sum": lambda total, count: vmath.log(total),
}


def _vector_loops(kind: str) -> tuple[Any, Any]:
    """Return ``columns``, which keeps contiguous columns, and ``contiguous``, which reduces."""
    start = _F(start_of(kind, np.float32))
    step = _VECTOR_STEP.get(kind, add)
    join = step if kind in ("max", "min", "prod") else add
    scalar = STEPS.get(kind, add)
    across = {"max": _across_max, "min": _across_min, "prod": _across_prod}.get(kind, reduce_add)
    finish = njit(_VECTOR_FINISH.get(kind, same))

    @njit
    def column(x: Pointer, n: int, stride: int, total: Any) -> Any:
        """Reduce n vectors."""
        i = 0
        while i < n:
            a, b = splat(start), splat(start)
            end = min(n, i + _RUN)
            while i + 2 <= end:
                a, b = step(a, vload(x, i * stride)), step(b, vload(x, (i + 1) * stride))
                i += 2
            if i < end:
                a = step(a, vload(x, i * stride))
                i += 1
            total = join(total, join(a, b))
        return total

    @njit
    def four_columns(x: Pointer, y: Pointer, n: int, stride: int, count: int) -> None:
        """Reduce n times four vectors side by side: whole cache lines, read once."""
        t0, t1, t2, t3 = splat(start), splat(start), splat(start), splat(start)
        for i in range(0, n, _RUN):
            a, b, c, d = splat(start), splat(start), splat(start), splat(start)
            for j in range(i, min(n, i + _RUN)):
                at = x + j * stride * 4
                a, b = step(a, vload(at, 0)), step(b, vload(at, LANES))
                c, d = step(c, vload(at, 2 * LANES)), step(d, vload(at, 3 * LANES))
            t0, t1, t2, t3 = join(t0, a), join(t1, b), join(t2, c), join(t3, d)
        vstore(y, 0, finish(t0, _F(count)))
        vstore(y, LANES, finish(t1, _F(count)))
        vstore(y, 2 * LANES, finish(t2, _F(count)))
        vstore(y, 3 * LANES, finish(t3, _F(count)))

    @njit
    def columns(
        x: Pointer, y: Pointer, n: int, r0: int, r1: int, r2: int, r3: int, a0: int, a1: int,
        a2: int, a3: int, count: int,
    ) -> None:  # fmt: skip
        done, is_one = 0, r0 * r1 * r2 == 1
        is_aligned = is_one and a3 % LANES == 0 and min(n // LANES, r3) >= _ALIGNED
        ahead = (-x & (4 * LANES - 1)) // 4
        if is_aligned and ahead > 0:  # then no load of the vectors after these crosses a line
            four_columns(x, y, r3, a3, count)
            done = ahead
        while is_one and done + 4 * LANES <= n:
            four_columns(x + done * 4, y + done * 4, r3, a3, count)
            done += 4 * LANES
        if is_aligned and done < n:  # some again: sums have one order, wherever x lies
            last = (n - 4 * LANES) * 4
            four_columns(x + last, y + last, r3, a3, count)
            done = n
        for c in range(done, n, LANES):
            total = splat(start)
            for i0 in range(r0):
                for i1 in range(r1):
                    for i2 in range(r2):
                        at = x + (i0 * a0 + i1 * a1 + i2 * a2 + c) * 4
                        if n - c >= LANES:
                            total = column(at, r3, a3, total)
                        else:
                            part = splat(start)
                            for i3 in range(r3):
                                part = step(part, vload_first(at, i3 * a3, n - c))
                            total = join(total, part)
            vstore_first(y, c, finish(total, _F(count)), n - c)

    @njit
    def contiguous(x: Pointer, n: int) -> Any:
        total, i = splat(start), 0
        while i + 4 * LANES <= n:
            a, b, c, d = splat(start), splat(start), splat(start), splat(start)
            end = min(n, i + _RUN * LANES)
            while i + 4 * LANES <= end:
                a, b = step(a, vload(x, i)), step(b, vload(x, i + LANES))
                c, d = step(c, vload(x, i + 2 * LANES)), step(d, vload(x, i + 3 * LANES))
                i += 4 * LANES
            total = join(total, join(join(a, b), join(c, d)))
        while i + LANES <= n:
            total = step(total, vload(x, i))
            i += LANES
        result = start
        if i > 0:
            result = across(total)
        while i < n:
            result = scalar(result, load_f32(x, i))
            i += 1
        return result

    return columns, contiguous


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
    columns, contiguous = _vector_loops(kind) if dtype == "f32" else number_loops(kind, dtype)
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
