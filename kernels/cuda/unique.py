"""Unique: rows of integer keys are sorted, and equal ones become groups.

One block of threads does all of it, since it waits between the steps of sorting. The fields are
those of the CPU's kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import I64_LAST, I64_SCAN
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory, cuda_kernel
from .launches import elements_of, over_tiles
from .memory import LOAD, LONG_BITS_OF, load_i64, store_i64
from .threads import cuda

_NAN = (1 << 63) - 1
_SIGN = -(1 << 63)


@cuda_factory
def sort_keys(dtype: str) -> Body:
    """keys[i] = an int64 in the order of x[i], the same for both zeros; of NaN the largest one."""
    load = LOAD["i64" if dtype == "u64" else dtype]

    def of_float(x: Pointer, keys: Pointer, count: int, status: Pointer) -> None:
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            value = load(x, i)
            key = LONG_BITS_OF(np.float64(value) + np.float64(0))
            key = key if key >= 0 else key ^ _NAN
            store_i64(keys, i, key if value == value else _NAN)

    def of_integer(x: Pointer, keys: Pointer, count: int, status: Pointer) -> None:
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            store_i64(keys, i, np.int64(load(x, i)) ^ (_SIGN if dtype == "u64" else 0))

    return Body(of_float if dtype[0] == "f" else of_integer, elements_of("count"))


@device_function("int64")
def _compare(keys: Any, width: Any, i: Any, j: Any) -> Any:
    """Return the order of two rows: below, at or above 0."""
    for k in range(width):
        a, b = load_i64(keys, i * width + k), load_i64(keys, j * width + k)
        if a != b:
            return -1 if a < b else 1
    return 0


@device_function("int64")
def _place(keys: Any, width: Any, order: Any, i: Any, run: Any, rows: Any) -> Any:
    """Return the place of a number when its run and the one beside it are merged, stable."""
    row, number = load_i64(order, i), i // run
    begin = (number ^ 1) * run
    low, high = min(begin, rows), min(begin + run, rows)
    while low < high:
        middle = (low + high) // 2
        sign = _compare(keys, width, load_i64(order, middle), row)
        if sign < 0 or (sign == 0 and number % 2 == 1):
            low = middle + 1
        else:
            high = middle
    # Runs of an even number come first; so many of the other run come before this element.
    before = low - begin if begin < rows else 0
    return number // 2 * 2 * run + i % run + before


@device_function("int64")
def _sort(keys: Any, width: Any, rows: Any, order: Any, other: Any) -> Any:
    """Sort numbers of rows by merging, stable; returns which of two arrays holds them."""
    for i in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
        store_i64(order, i, i)
    cuda.syncthreads()
    source, target, run = order, other, 1
    while run < rows:
        for i in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
            place = _place(keys, width, source, i, run, rows)
            store_i64(target, place, load_i64(source, i))
        cuda.syncthreads()
        source, target = target, source
        run = run * 2
    return source


@device_function("boolean")
def _has_nan(keys: Any, width: Any, row: Any) -> Any:
    found = False
    for k in range(width):
        found = found or load_i64(keys, row * width + k) == _NAN
    return found


@device_function("void")
def _renumber(
    first: Any, inverse: Any, counts: Any, rows: Any, groups: Any, numbers: Any, copies: Any
) -> None:
    """Order groups by new numbers, of whose first rows and sizes there are copies."""
    for group in range(cuda.threadIdx.x, groups, cuda.blockDim.x):
        store_i64(first, group, load_i64(copies, 2 * group))
        store_i64(counts, group, load_i64(copies, 2 * group + 1))
    for row in range(cuda.threadIdx.x, rows, cuda.blockDim.x):
        store_i64(inverse, row, load_i64(numbers, load_i64(inverse, row)))


def _one_block(f: Fields, limits: Limits) -> Launch:
    return over_tiles(1, limits.threads, limits)


@cuda_kernel(_one_block)
def unique_rows(
    keys: Pointer, rows: int, width: int, is_float: int, is_sorted: int, first: Pointer,
    inverse: Pointer, counts: Pointer, groups: Pointer, scratch: Pointer, status: Pointer,
) -> None:  # fmt: skip
    """Group equal rows of ``width`` keys: groups[0] is their number."""
    order = _sort(keys, width, rows, scratch, scratch + 8 * rows)
    begins, found = scratch + 16 * rows, 0
    for begin in range(0, rows, cuda.blockDim.x):
        i = begin + cuda.threadIdx.x
        row, is_new = 0, 0
        if i < rows:
            row = load_i64(order, i)
            if (
                i == 0
                or _compare(keys, width, load_i64(order, i - 1), row) != 0
                or (is_float != 0 and _has_nan(keys, width, row))
            ):
                is_new = 1
        reached = found + I64_SCAN(is_new)
        if i < rows:
            store_i64(inverse, row, reached - 1)
        if is_new != 0:
            store_i64(first, reached - 1, row)
            store_i64(begins, reached - 1, i)
        found = I64_LAST(reached)
    cuda.syncthreads()
    for group in range(cuda.threadIdx.x, found, cuda.blockDim.x):
        end = load_i64(begins, group + 1) if group + 1 < found else rows
        store_i64(counts, group, end - load_i64(begins, group))
    cuda.syncthreads()
    # In the order of their first rows groups have other numbers. Scans stand here, since numba
    # links their shared memory once.
    numbers, copies, renumbered = scratch, scratch + 8 * rows, 0
    for begin in range(0, rows if is_sorted == 0 else 0, cuda.blockDim.x):
        row = begin + cuda.threadIdx.x
        group = load_i64(inverse, row) if row < rows else 0
        is_first = 1 if row < rows and load_i64(first, group) == row else 0
        reached = renumbered + I64_SCAN(is_first)
        if is_first != 0:
            store_i64(numbers, group, reached - 1)
            store_i64(copies, 2 * (reached - 1), row)
            store_i64(copies, 2 * (reached - 1) + 1, load_i64(counts, group))
        renumbered = I64_LAST(reached)
    cuda.syncthreads()
    if is_sorted == 0:
        _renumber(first, inverse, counts, rows, found, numbers, copies)
    if cuda.threadIdx.x == 0:
        store_i64(groups, 0, found)
