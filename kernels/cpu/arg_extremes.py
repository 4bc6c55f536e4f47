"""Positions of the largest or smallest elements along an axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..row_folds import fold_places
from ..simd import (
    first,
    load_f32,
    load_i32,
    select,
    splat,
    splat_i32,
    stack_words,
    store_i32,
    store_i64,
    vload,
    vload_first,
    vload_i32,
    vstore,
    vstore_i32,
)
from ..target import LANES
from .reduce_steps import TYPES

_BLOCK = 64  # results that are found at a time
_MOST = 2**31 - 1 - LANES
"""Elements of a line whose places are int32."""


def _vector_loops(largest: int) -> tuple[Any, Any]:
    """Return functions that give positions in rows of neighbours and in columns, float32."""
    fold = fold_places(">" if largest != 0 else "<")

    @njit
    def better(value: Any, best: Any, last: int) -> Any:
        is_beyond = value > best if largest != 0 else value < best
        return is_beyond | (value == best) if last != 0 else is_beyond

    @njit
    def rows(x: Pointer, y: Pointer, count: int, n: int, stride: int, last: int) -> None:
        """Give positions in at most ``LANES`` rows; those that are sought last count downward."""
        numbers, places = stack_words(LANES * LANES // 2), stack_words(LANES * LANES // 2)
        sign = -1 if last != 0 else 1
        for lane in range(LANES):
            store_i32(places, lane, np.int32(sign * lane))
        iota, step = vload_i32(places, 0), splat_i32(np.int32(sign * LANES))
        for row in range(count):
            at = x + row * stride * 4
            best, place, next_place = splat(load_f32(at, 0)), iota - iota, iota
            for i in range(0, n - LANES + 1, LANES):
                value = vload(at, i)
                is_better = better(value, best, last)
                best, place = select(is_better, value, best), select(is_better, next_place, place)
                next_place = next_place + step
            if n % LANES != 0:
                value = vload_first(at, n // LANES * LANES, n % LANES)
                is_better = better(value, best, last) & first(n % LANES)
                best, place = select(is_better, value, best), select(is_better, next_place, place)
            vstore(numbers, row * LANES, best)
            vstore_i32(places, row * LANES, place)
        vstore_i32(places, 0, fold(numbers, places))
        for row in range(count):
            store_i64(y, row, sign * load_i32(places, row))

    @njit
    def columns(x: Pointer, y: Pointer, count: int, n: int, stride: int, last: int) -> None:
        """Give positions in columns side by side."""
        places = stack_words(LANES // 2)
        for c in range(0, count, LANES):
            best, place = vload_first(x, c, count - c), splat_i32(np.int32(0))
            for j in range(1, n):
                value = vload_first(x + j * stride * 4, c, count - c)
                is_better = better(value, best, last)
                best = select(is_better, value, best)
                place = select(is_better, splat_i32(np.int32(j)), place)
            vstore_i32(places, 0, place)
            for i in range(min(LANES, count - c)):
                store_i64(y, c + i, load_i32(places, i))

    return rows, columns


@kernel_factory
def arg_extreme(dtype: str, largest: int) -> Callable[..., int]:
    """ArgMax (1) or ArgMin (0) along the middle of three axes; int64 result.

    x has sizes outer, n, inner and strides ``x_outer``, ``x_axis``, ``x_inner``; y is dense.
    Of equal elements the first is taken, or the last with ``last`` 1. A NaN is only found where it
    is the first element. Results are split into parts.
    """
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    size = np.dtype(TYPES[dtype]).itemsize

    (rows, columns), is_vector = _vector_loops(largest), dtype == "f32"

    @njit
    def better(value, best, last: int):  # type: ignore[no-untyped-def]
        is_beyond = value > best if largest != 0 else value < best
        return is_beyond | ((last != 0) & (value == best))

    @njit
    def take(
        x: Pointer, step: int, count: int, place: int, last: int, best: Pointer, places: Pointer
    ) -> None:
        """Take in an element for each of ``count`` results: choices, which become vectors."""
        for i in range(count):
            value, known = load(x, i * step), load(best, i)
            is_better = better(value, known, last)
            store(best, i, value if is_better else known)
            store_i32(places, i, np.int32(place) if is_better else load_i32(places, i))

    @njit
    def lines(
        x: Pointer, y: Pointer, step: int, count: int, n: int, x_axis: int, last: int,
        best: Pointer, places: Pointer,
    ) -> None:  # fmt: skip
        """Give positions for lines side by side."""
        for i in range(count):
            store(best, i, load(x, i * step))
            store_i32(places, i, np.int32(0))
        for j in range(1, n):
            at = x + j * x_axis * size
            if step == 1:
                take(at, 1, count, j, last, best, places)
            else:
                take(at, step, count, j, last, best, places)
        for i in range(count):
            store_i64(y, i, load_i32(places, i))

    @njit
    def line(x: Pointer, n: int, x_axis: int, last: int) -> int:
        best, place = load(x, 0), 0
        for j in range(1, n):
            value = load(x, j * x_axis)
            if better(value, best, last):
                best, place = value, j
        return place

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, outer: int, n: int, inner: int,
        x_outer: int, x_axis: int, x_inner: int, last: int,
    ) -> int:  # fmt: skip
        best, places = stack_words(_BLOCK), stack_words(_BLOCK // 2)
        total = outer * inner
        index, end = total * part // parts, total * until // parts
        while index < end:
            source, target = x + (index // inner * x_outer + index % inner * x_inner) * size, y
            target += index * 8
            if is_vector and inner == 1 and x_axis == 1 and LANES // 2 <= n <= _MOST:
                rows(source, target, min(end - index, LANES), n, x_outer, last)
                index += LANES
                continue
            if n > _MOST:
                store_i64(target, 0, line(source, n, x_axis, last))
                index += 1
                continue
            count, step = end - index, x_outer
            if inner > 1:
                count, step = min(count, inner - index % inner), x_inner
            if is_vector and step == 1:
                columns(source, target, count, n, x_axis, last)
                index += count
                continue
            count = min(count, _BLOCK)
            lines(source, target, step, count, n, x_axis, last, best, places)
            index += count
        return 0

    return body
