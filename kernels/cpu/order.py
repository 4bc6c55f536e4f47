"""Operators along one axis: running sums and products, the k largest."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from .. import simd
from ..registry import TOO_FEW_ELEMENTS, Pointer, kernel_factory
from ..simd import load_i64, store_i64
from .reduce_steps import TYPES


def _before(largest: int) -> Callable[..., bool]:
    """Order of values: NaN is larger than any number, as in numpy's sorting."""

    @njit
    def before(a, b):  # type: ignore[no-untyped-def]
        if largest != 0:
            return a > b or (a != a and b == b)
        return a < b or (b != b and a == a)

    return before


@kernel_factory
def cumulative(dtype: str, operation: str) -> Callable[..., int]:
    """Running ``"sum"`` or ``"product"`` along the middle of three dense axes (outer, n, inner).

    ``exclusive`` leaves out the element itself, ``reverse`` begins at the end. Lines are split
    into parts.
    """
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    cast = TYPES[dtype]
    size = np.dtype(cast).itemsize
    is_sum = operation == "sum"
    first = cast(0 if is_sum else 1)

    @njit
    def combine(a, b):  # type: ignore[no-untyped-def]
        return cast(a + b) if is_sum else cast(a * b)

    @njit
    def columns(
        x: Pointer, y: Pointer, n: int, inner: int, count: int, exclusive: int, reverse: int
    ) -> None:
        """Combine ``count`` columns row by row: a row begins with what the last one holds."""
        step, row = (-inner, (n - 1) * inner) if reverse != 0 else (inner, 0)
        for i in range(count if n > 0 else 0):
            store(y, row + i, first if exclusive != 0 else load(x, row + i))
        for _ in range(1, n):
            last, row = row, row + step
            source = last if exclusive != 0 else row
            for i in range(count):
                store(y, row + i, combine(load(y, last + i), load(x, source + i)))

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, outer: int, n: int, inner: int,
        exclusive: int, reverse: int,
    ) -> int:  # fmt: skip
        total = outer * inner
        index, end = total * part // parts, total * until // parts
        while index < end:
            at = (index // inner * n * inner + index % inner) * size
            source, target = x + at, y + at
            count = min(end - index, inner - index % inner)
            index += count
            if inner > 1:
                columns(source, target, n, inner, count, exclusive, reverse)
                continue
            running = first
            for j in range(n):
                i = n - 1 - j if reverse != 0 else j
                value = load(source, i)
                if exclusive != 0:
                    store(target, i, running)
                running = combine(running, value)
                if exclusive == 0:
                    store(target, i, running)
        return 0

    return body


@kernel_factory
def top_k(dtype: str, largest: int) -> Callable[..., int]:
    """Give the ``k`` largest (1) or smallest (0) elements along the middle of three dense axes.

    values and indices (int64) have sizes outer, k, inner, in sorted order; of equal elements
    the one with the lower index comes first; k over n is error 4. ``scratch`` holds k int64 for
    each thread. A heap of k indices is kept while the line is read, then taken apart (Williams'
    heapsort). Lines are split into parts.
    """
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    size = np.dtype(TYPES[dtype]).itemsize
    before = _before(largest)

    @njit
    def ranks_before(x: Pointer, stride: int, i: int, j: int) -> bool:
        a, b = load(x, i * stride), load(x, j * stride)
        return before(a, b) or (i < j and not before(b, a))

    @njit
    def sift(x: Pointer, stride: int, heap: Pointer, root: int, count: int) -> None:
        """Let the element at ``root`` sink; the heap has the lowest ranked element on top."""
        while 2 * root + 1 < count:
            child = 2 * root + 1
            if child + 1 < count and ranks_before(
                x, stride, load_i64(heap, child), load_i64(heap, child + 1)
            ):
                child += 1
            here, below = load_i64(heap, root), load_i64(heap, child)
            if not ranks_before(x, stride, here, below):
                return
            store_i64(heap, root, below)
            store_i64(heap, child, here)
            root = child

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, values: Pointer, indices: Pointer, scratch: Pointer,
        outer: int, n: int, inner: int, k: int,
    ) -> int:  # fmt: skip
        if k > n:
            return TOO_FEW_ELEMENTS
        heap = scratch + 8 * k * thread
        total = outer * inner if k > 0 else 0
        for index in range(total * part // parts, total * until // parts):
            source = x + (index // inner * n * inner + index % inner) * size
            for j in range(k):
                store_i64(heap, j, j)
            for j in range(k // 2 - 1, -1, -1):
                sift(source, inner, heap, j, k)
            least = load(source, load_i64(heap, 0) * inner)
            for j in range(k, n):
                # Of equal ones that with the lower index is there already.
                if before(load(source, j * inner), least):
                    store_i64(heap, 0, j)
                    sift(source, inner, heap, 0, k)
                    least = load(source, load_i64(heap, 0) * inner)
            at = index // inner * k * inner + index % inner
            for j in range(k - 1, -1, -1):
                worst = load_i64(heap, 0)
                store_i64(heap, 0, load_i64(heap, j))
                sift(source, inner, heap, 0, j)
                store(values, at + j * inner, load(source, worst * inner))
                store_i64(indices, at + j * inner, worst)
        return 0

    return body
