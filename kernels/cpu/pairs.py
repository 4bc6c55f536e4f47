"""Integers of 8 bits, less their zero points, as the pairs of int16 that tiles multiply.

A word holds two neighbours of the axis that is summed up; where their number is odd, the last
word has a zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import store_i16, store_i32

_SHORT = 8
"""Elements of rows of which vectors take the same places of several rows, not one row."""


@kernel_factory
def pair_rows(kind: str) -> Callable[..., int]:
    """Make pairs along the innermost axis, for operands that a tile reads row by row.

    x has images x rows of ``groups`` times ``channels`` dense elements of the type ``kind``; y is
    dense, and each group begins with a word of its own. ``zero`` (0: none) are zero points of
    that type, ``zero_step`` elements from one row's to the next. Rows are split into parts.
    """
    load = getattr(simd, f"load_{kind}")

    @njit
    def widen(source: int, target: int, count: int, point: Any) -> None:
        for c in range(count):
            store_i16(target, c, np.int16(load(source, c)) - np.int16(point))

    @njit
    def pair(source: int, target: int, count: int, x_row: int, words: int, point: Any) -> None:
        for row in range(count):
            low = np.int32(load(source, row * x_row)) - np.int32(point)
            high = np.int32(load(source, row * x_row + 1)) - np.int32(point)
            store_i32(target, row * words, (high << 16) | (low & 0xFFFF))

    @njit
    def single(source: int, target: int, count: int, x_row: int, words: int, point: Any) -> None:
        for row in range(count):
            low = np.int32(load(source, row * x_row)) - np.int32(point)
            store_i32(target, row * words, low & 0xFFFF)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, zero: Pointer, y: Pointer, images: int, rows: int, groups: int, channels: int,
        x_image: int, x_row: int, zero_step: int,
    ) -> int:  # fmt: skip
        words = (channels + 1) // 2
        row, last = images * rows * part // parts, images * rows * until // parts
        # Rows of even length that touch are one long row.
        is_whole = channels % 2 == 0 and x_row == groups * channels and zero_step == 0
        while row < last:
            source = x + row // rows * x_image + row % rows * x_row
            target = y + row * groups * words * 4
            point = np.int64(load(zero, row * zero_step)) if zero != 0 else 0
            count = min(rows - row % rows, last - row) if zero_step == 0 else 1
            row += count
            if is_whole:
                widen(source, target, count * x_row, point)
                continue
            for _ in range(groups):
                if channels <= _SHORT:
                    for k in range(channels // 2):
                        pair(source + 2 * k, target + 4 * k, count, x_row, groups * words, point)
                else:
                    for i in range(count):
                        to = target + i * groups * words * 4
                        widen(source + i * x_row, to, channels // 2 * 2, point)
                if channels % 2 != 0:
                    end = channels - 1
                    single(source + end, target + 2 * end, count, x_row, groups * words, point)
                source, target = source + channels, target + words * 4
        return 0

    return body


@kernel_factory
def pair_columns(kind: str) -> Callable[..., int]:
    """Make pairs along the rows of matrices (depth, columns) of any strides.

    y is dense, of half as many rows of words. ``zero`` (0: none) are zero points, elements
    ``zero_image`` and ``zero_column`` apart. Rows of all matrices are split into parts.
    """
    load = getattr(simd, f"load_{kind}")

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, zero: Pointer, y: Pointer, images: int, depth: int, columns: int,
        x_image: int, x_row: int, x_column: int, zero_image: int, zero_column: int,
    ) -> int:  # fmt: skip
        pairs = (depth + 1) // 2
        rows = images * pairs
        for row in range(rows * part // parts, rows * until // parts):
            image, k = row // pairs, row % pairs * 2
            source, target = x + image * x_image + k * x_row, y + row * columns * 4
            points = zero + image * zero_image
            for n in range(columns):
                point = np.int32(load(points, n * zero_column)) if zero != 0 else np.int32(0)
                low = np.int32(load(source, n * x_column)) - point
                high = np.int32(0)
                if k + 1 < depth:
                    high = np.int32(load(source, x_row + n * x_column)) - point
                store_i32(target, n, (high << 16) | (low & 0xFFFF))
        return 0

    return body


def paired(matrix: np.ndarray, axis: int) -> np.ndarray:
    """Pair numbers along an axis; they have to fit int16."""
    return joined(matrix.astype(np.int16), axis)


def joined(numbers: np.ndarray, axis: int) -> np.ndarray:
    """Join neighbours along an axis, of 1 or 2 bytes each, into words; the last has zeros."""
    rows = np.moveaxis(numbers, axis, -1)
    missing = -rows.shape[-1] % (4 // rows.itemsize)
    if missing:
        rows = np.concatenate([rows, np.zeros((*rows.shape[:-1], missing), rows.dtype)], -1)
    return np.moveaxis(np.ascontiguousarray(rows).view("<i4"), -1, axis)


def unjoined(words: np.ndarray, axis: int) -> np.ndarray:
    """Return the int8 that words along an axis have four of each."""
    return np.moveaxis(np.ascontiguousarray(np.moveaxis(words, axis, -1)).view(np.int8), -1, axis)
