"""Unique: rows of integer keys are sorted, and equal ones become groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel, kernel_factory
from ..simd import load_i64, stack_words, store_f64, store_i64

_NAN = np.iinfo(np.int64).max
_SIGN = np.iinfo(np.int64).min
_FEW = 500
"""Keys that are sorted faster by comparisons than by their bytes."""


@kernel_factory
def sort_keys(dtype: str) -> Callable[..., int]:
    """keys[i] = an int64 in the order of x[i], the same for both zeros; of NaN the largest one."""
    load = getattr(simd, f"load_{'i64' if dtype == 'u64' else dtype}")
    is_float, is_unsigned = dtype[0] == "f", dtype == "u64"

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, keys: Pointer, count: int
    ) -> int:
        bits = stack_words(1)
        for i in range(count * part // parts, count * until // parts):
            value = load(x, i)
            if is_float:
                store_f64(bits, 0, np.float64(value) + 0.0)
                key = load_i64(bits, 0)
                key = key if key >= 0 else key ^ _NAN
                store_i64(keys, i, key if value == value else _NAN)
            else:
                store_i64(keys, i, np.int64(value) ^ (_SIGN if is_unsigned else 0))
        return 0

    return body


@njit
def _compare(keys: Pointer, width: int, i: int, j: int) -> Any:
    """Order of two rows: below, at or above 0."""
    for k in range(width):
        a, b = load_i64(keys, i * width + k), load_i64(keys, j * width + k)
        if a != b:
            return -1 if a < b else 1
    return 0


@njit
def _sort(keys: Pointer, width: int, count: int, order: Pointer, other: Pointer) -> Any:
    """Sort numbers of rows by merging, stable; returns which of two arrays holds them."""
    for i in range(count):
        store_i64(order, i, i)
    run = 1
    while run < count:
        for begin in range(0, count, 2 * run):
            middle, end = min(begin + run, count), min(begin + 2 * run, count)
            left, right = begin, middle
            for place in range(begin, end):
                takes_left = right >= end
                if left < middle and right < end:
                    a, b = load_i64(order, left), load_i64(order, right)
                    takes_left = _compare(keys, width, a, b) <= 0
                if takes_left:
                    store_i64(other, place, load_i64(order, left))
                    left += 1
                else:
                    store_i64(other, place, load_i64(order, right))
                    right += 1
        order, other = other, order
        run *= 2
    return order


@njit
def _sort_by_bytes(keys: Pointer, count: int, order: Pointer, other: Pointer) -> Any:
    """Sort numbers of keys by their bytes, least first, stable; returns as ``_sort`` does.

    Bytes that all keys have alike are passed over, as the upper ones of small integers.
    """
    begins = stack_words(256)
    for i in range(count):
        store_i64(order, i, i)
    for shift in range(0, 64, 8):
        for byte in range(256):
            store_i64(begins, byte, 0)
        for i in range(count):
            byte = ((load_i64(keys, i) ^ _SIGN) >> shift) & 255
            store_i64(begins, byte, load_i64(begins, byte) + 1)
        if load_i64(begins, ((load_i64(keys, 0) ^ _SIGN) >> shift) & 255) == count:
            continue
        total = 0
        for byte in range(256):
            own = load_i64(begins, byte)
            store_i64(begins, byte, total)
            total += own
        for i in range(count):
            row = load_i64(order, i)
            byte = ((load_i64(keys, row) ^ _SIGN) >> shift) & 255
            place = load_i64(begins, byte)
            store_i64(other, place, row)
            store_i64(begins, byte, place + 1)
        order, other = other, order
    return order


@njit
def _has_nan(keys: Pointer, width: int, row: int) -> Any:
    found = False
    for k in range(width):
        found |= load_i64(keys, row * width + k) == _NAN
    return found


@njit
def _by_first(first: Pointer, inverse: Pointer, counts: Pointer, rows: int, groups: int,
              numbers: Pointer, copy: Pointer) -> None:  # fmt: skip
    """Number groups anew, in the order of their first rows."""
    for g in range(groups):
        store_i64(copy, g, load_i64(first, g))
        store_i64(copy, groups + g, load_i64(counts, g))
    found = 0
    for row in range(rows):
        g = load_i64(inverse, row)
        if load_i64(copy, g) == row:
            store_i64(numbers, g, found)
            store_i64(first, found, row)
            store_i64(counts, found, load_i64(copy, groups + g))
            found += 1
        store_i64(inverse, row, load_i64(numbers, g))


@kernel
def unique_rows(
    thread: int, part: int, until: int, parts: int, keys: Pointer, rows: int, width: int,
    is_float: int, is_sorted: int, first: Pointer, inverse: Pointer, counts: Pointer,
    groups: Pointer, scratch: Pointer,
) -> int:  # fmt: skip
    """Group equal rows of ``width`` keys: groups[0] is their number.

    ``first`` and ``counts`` get the first row of each group and its size, ``inverse`` the group of
    each row. Groups are in the order of their keys, or of their first rows. Rows with a NaN are
    groups of their own. ``scratch`` is room for 3 words a row.
    """
    if part != 0:
        return 0
    if width == 1 and rows > _FEW:
        order = _sort_by_bytes(keys, rows, scratch, scratch + 8 * rows)
    else:
        order = _sort(keys, width, rows, scratch, scratch + 8 * rows)
    found, last = 0, 0
    for i in range(rows):
        row = load_i64(order, i)
        is_new = i == 0 or _compare(keys, width, last, row) != 0
        if is_new or (is_float != 0 and _has_nan(keys, width, row)):
            store_i64(first, found, row)
            store_i64(counts, found, 0)
            found += 1
        store_i64(counts, found - 1, load_i64(counts, found - 1) + 1)
        store_i64(inverse, row, found - 1)
        last = row
    if is_sorted == 0:
        _by_first(first, inverse, counts, rows, found, scratch, scratch + 8 * rows)
    store_i64(groups, 0, found)
    return 0
