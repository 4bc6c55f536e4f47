"""Integers of 8 bits, less their zero points, as the pairs of int16 that tiles multiply.

A word holds two neighbours of the axis that is summed up; where their number is odd, the last
word has a zero.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import store_i16, store_i32


@kernel_factory
def pair_rows(kind: str) -> Callable[..., int]:
    """Make pairs along the innermost axis, for operands that a tile reads row by row.

    x has images x rows of ``groups`` times ``channels`` dense elements of the type ``kind``; y is
    dense, and each group begins with a word of its own. ``zero`` (0: none) are zero points of
    that type, ``zero_step`` elements from one row's to the next. Rows are split into parts.
    """
    load = getattr(simd, f"load_{kind}")

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, zero: Pointer, y: Pointer, images: int, rows: int, groups: int, channels: int,
        x_image: int, x_row: int, zero_step: int,
    ) -> int:  # fmt: skip
        padded = (channels + 1) // 2 * 2
        all_rows = images * rows
        for row in range(all_rows * part // parts, all_rows * until // parts):
            source = x + row // rows * x_image + row % rows * x_row
            point = np.int16(load(zero, row * zero_step)) if zero != 0 else np.int16(0)
            for group in range(groups):
                target = y + (row * groups + group) * padded * 2
                for c in range(channels):
                    store_i16(target, c, np.int16(load(source, c)) - point)
                if padded > channels:
                    store_i16(target, channels, np.int16(0))
                source += channels
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
