"""Reductions of float32 by vectors: of columns side by side, and of rows of neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd, vmath
from ..registry import Pointer
from ..row_folds import fold_rows
from ..simd import (
    any_lane,
    extract,
    first,
    ordered,
    reduce_add,
    reduce_max,
    reduce_min,
    select,
    splat,
    stack_words,
    store_f32,
    vabs,
    vload,
    vload_first,
    vmax,
    vmin,
    vstore,
    vstore_first,
)
from ..target import LANES
from .reduce_steps import add, multiply, same, square_in, start_of

_F = np.float32
_RUN = 256  # elements an accumulator takes before it is added to the total
_ALIGNED = 8
_PARTS = LANES * LANES // 2  # words of as many rows as vectors have lanes, of float32
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
_FOLDS = {"max": "max", "min": "min", "prod": "multiply"}
_VECTOR_FINISH: dict[str, Callable[[Any, Any], Any]] = {
    "mean": lambda total, count: total / splat(count),
    "l2": lambda total, count: simd.vsqrt(total),
    "log_sum": lambda total, count: vmath.log(total),
}


def _extremes(kind: str) -> tuple[Any, Any]:
    """Return functions of columns and of rows that give maxima or minima; NaN where one is.

    Of n times four vectors side by side, and of n numbers those of each lane.
    """
    beyond, start = (vmax, _F(-np.inf)) if kind == "max" else (vmin, _F(np.inf))

    @njit
    def extreme_of(x: Pointer, n: int) -> Any:
        # Maxima pass by NaN, which a comparison of two vectors finds: that is no part of the chain.
        total, i = splat(start), 0
        known = total == total
        while i + 4 * LANES <= n:
            a, b = vload(x, i), vload(x, i + LANES)
            c, d = vload(x, i + 2 * LANES), vload(x, i + 3 * LANES)
            known = known & ordered(a, b) & ordered(c, d)
            total = beyond(total, beyond(beyond(a, b), beyond(c, d)))
            i += 4 * LANES
        while i + LANES <= n:
            a = vload(x, i)
            known, total = known & ordered(a, a), beyond(total, a)
            i += LANES
        if i < n:
            a = select(first(n - i), vload_first(x, i, n - i), splat(start))
            known, total = known & ordered(a, a), beyond(total, a)
        return select(known, total, splat(_F(np.nan)))

    @njit
    def four_columns(x: Pointer, y: Pointer, n: int, stride: int, count: int) -> None:
        t0, t1, t2, t3 = splat(start), splat(start), splat(start), splat(start)
        k0, k1, k2, k3 = t0 == t0, t0 == t0, t0 == t0, t0 == t0
        for j in range(0, n, 2):
            at, after = x + j * stride * 4, x + min(j + 1, n - 1) * stride * 4
            a, b = vload(at, 0), vload(after, 0)
            k0, t0 = k0 & ordered(a, b), beyond(t0, beyond(a, b))
            a, b = vload(at, LANES), vload(after, LANES)
            k1, t1 = k1 & ordered(a, b), beyond(t1, beyond(a, b))
            a, b = vload(at, 2 * LANES), vload(after, 2 * LANES)
            k2, t2 = k2 & ordered(a, b), beyond(t2, beyond(a, b))
            a, b = vload(at, 3 * LANES), vload(after, 3 * LANES)
            k3, t3 = k3 & ordered(a, b), beyond(t3, beyond(a, b))
        nan = splat(_F(np.nan))
        vstore(y, 0, select(k0, t0, nan))
        vstore(y, LANES, select(k1, t1, nan))
        vstore(y, 2 * LANES, select(k2, t2, nan))
        vstore(y, 3 * LANES, select(k3, t3, nan))

    return four_columns, extreme_of


def vector_loops(kind: str) -> tuple[Any, Any, Any]:
    """Return functions of columns that are kept, of numbers that become one, and of many rows."""
    start = _F(start_of(kind, np.float32))
    step = _VECTOR_STEP.get(kind, add)
    join = step if kind in ("max", "min", "prod") else add
    by = _FOLDS.get(kind, "add")
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
    def part_of(x: Pointer, n: int) -> Any:
        """Reduce n numbers to as many as a vector has."""
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
        if i < n:
            last = vload_first(x, i, n - i)
            if start != 0:
                last = select(first(n - i), last, splat(start))
            total = step(total, last)
        return total

    if kind in ("max", "min"):
        four_columns, part_of = _extremes(kind)

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
        return across(part_of(x, n))

    @njit
    def put(y: Pointer, stride: int, total: Any, n: int, count: int) -> None:
        """Store results of at most ``LANES`` rows."""
        total = finish(total, _F(count))
        if stride == 1:
            vstore_first(y, 0, total, n)
            return
        for i in range(min(n, LANES)):
            store_f32(y, i * stride, extract(total, i))

    @njit
    def long_rows(x: Pointer, y: Pointer, n: int, length: int, x_step: int, y_step: int) -> None:
        parts = stack_words(_PARTS)
        for i in range(0, n, LANES):
            left = min(LANES, n - i)
            for k in range(left):
                vstore(parts, k * LANES, part_of(x + (i + k) * x_step * 4, length))
            put(y + i * y_step * 4, y_step, fold_all(parts), left, length)

    def short(length: int) -> Any:
        fold, words = fold_rows(by, length), LANES // 2 * length

        @njit
        def short_rows(x: Pointer, y: Pointer, n: int, y_step: int) -> None:
            parts = stack_words(words)
            for i in range(0, n, LANES):
                at, left = x + i * length * 4, (n - i) * length
                for k in range(length):
                    part = vload_first(at, k * LANES, left - k * LANES)
                    vstore(parts, k * LANES, step(splat(start), part))
                put(y + i * y_step * 4, y_step, fold(parts), n - i, length)

        return short_rows

    fold_all = fold_rows(by, LANES)
    rows_of_2, rows_of_4, rows_of_8 = (short(min(length, LANES)) for length in (2, 4, 8))

    @njit
    def rows(x: Pointer, y: Pointer, n: int, length: int, x_step: int, y_step: int) -> None:
        """Reduce n rows of neighbours, many at a time: `are_rows` says which ones."""
        if length > LANES // 2:
            long_rows(x, y, n, length, x_step, y_step)
        elif length == 2:
            rows_of_2(x, y, n, y_step)
        elif length == 4:
            rows_of_4(x, y, n, y_step)
        else:
            rows_of_8(x, y, n, y_step)

    return columns, contiguous, rows


@njit
def are_rows(length: int, x_step: int) -> bool:
    """Tell whether ``rows`` takes rows of a length that begin so far apart.

    Short ones, which are no power of two or not dense, do not fill vectors.
    """
    dense = x_step == length and (length == 2 or length == 4 or length == 8)
    return length > LANES // 2 or dense
