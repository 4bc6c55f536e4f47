"""Positions of elements that are not zero, and how many there are.

Elements are taken in ``BLOCKS`` equal blocks, whatever the number of parts: their counts are made
first, then the places at which the positions of each block begin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..registry import Pointer, kernel, kernel_factory
from ..simd import load_i64, stack_words, store_i64
from .elements import RANK, element, start_odometer

BLOCKS = 64
_MAGNITUDE = {2: 0x7FFF, 4: 0x7FFFFFFF, 8: 0x7FFFFFFFFFFFFFFF}


def _is_set(itemsize: int, is_float: int) -> Callable[..., Any]:
    """1 for an element that is not zero, else 0; NaN is no zero, -0.0 is one."""
    load, _ = element(itemsize)
    mask = _MAGNITUDE.get(itemsize, 0) if is_float else -1

    @njit
    def is_set(x: Pointer, i: int) -> Any:
        return 1 if (load(x, i) & mask) != 0 else 0

    return is_set


@kernel_factory
def count_nonzero(itemsize: int, is_float: int) -> Callable[..., int]:
    """counts[b] = elements of block b of ``count`` dense ones that are not zero."""
    is_set = _is_set(itemsize, is_float)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, counts: Pointer, count: int
    ) -> int:
        for block in range(BLOCKS * part // parts, BLOCKS * until // parts):
            first, last = count * block // BLOCKS, count * (block + 1) // BLOCKS
            at, found = x + first * itemsize, 0
            for i in range(last - first):
                found += is_set(at, i)
            store_i64(counts, block, found)
        return 0

    return body


@kernel
def begins_of(
    thread: int, part: int, until: int, parts: int, counts: Pointer, begins: Pointer, count: int
) -> int:
    """begins[i] = the sum of the counts before i, for i up to ``count``."""
    if part == 0:
        total = 0
        for i in range(count):
            store_i64(begins, i, total)
            total += load_i64(counts, i)
        store_i64(begins, count, total)
    return 0


@kernel_factory
def nonzero(itemsize: int, is_float: int) -> Callable[..., int]:
    """y[axis, begins[b] + j] = the coordinate of the j-th element of block b that is not zero.

    ``d*`` are the sizes of the dense x, the first of them filled up with 1, of which the last
    ``rank`` get a row of ``total`` int64 each.
    """
    is_set = _is_set(itemsize, is_float)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, begins: Pointer, y: Pointer, count: int, total: int, rank: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
    ) -> int:  # fmt: skip
        dims, position = stack_words(8), stack_words(8)
        sizes = (d0, d1, d2, d3, d4, d5, d6, d7)
        for axis in range(RANK):
            store_i64(dims, axis, sizes[axis])
        last_row = y + (rank - 1) * total * 8
        for block in range(BLOCKS * part // parts, BLOCKS * until // parts):
            i, last = count * block // BLOCKS, count * (block + 1) // BLOCKS
            place, end = load_i64(begins, block), load_i64(begins, block + 1)
            while i < last and place < end:
                # What one line of x has: its last coordinates, then the others, which are equal.
                start_odometer(dims, position, i)
                column, begin = load_i64(position, RANK - 1), place
                for j in range(i, min(i + d7 - column, last)):
                    if place == end:
                        break
                    # Each is stored, and the next one over it unless it counts.
                    store_i64(last_row, place, j - i + column)
                    place += is_set(x, j)
                for row in range(rank - 1):
                    here = load_i64(position, RANK - rank + row)
                    for k in range(begin, place):
                        store_i64(y, row * total + k, here)
                i += d7 - column
        return 0

    return body
