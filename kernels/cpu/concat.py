"""Concatenation: runs of many operands, one after the other, in each row of a result."""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from ..abi import PIECE_ADDRESS, PIECE_BYTES, PIECE_COLUMNS, PIECE_STRIDE
from ..registry import MANY, Pointer, kernel
from ..simd import load_i64
from .elements import copy_bytes, element

LINE = 64
"""Bytes of a cache line: rows are split between them."""
FINE_BYTES, COARSE_BYTES, LEAST_ROWS = 1 << 15, 1 << 20, 32
"""Rows that all operands are copied into before the next rows follow: bytes of them where runs
share lines with their neighbours, which then are in the first cache yet, and where they do not.
Several rows in any case, so that an operand of short runs is not fetched anew for each."""


def _column(size: int) -> Callable[..., None]:
    """Return ``column(target, source, rows, t, s)``, for a run of one element in each row."""
    load, store = element(size)

    @njit
    def column(target: Pointer, source: Pointer, rows: int, t: int, s: int) -> None:
        for row in range(rows):
            store(target + row * t, 0, load(source + row * s, 0))

    return column


_column1, _column2, _column4, _column8 = map(_column, (1, 2, 4, 8))


@njit
def _copy_runs(target: Pointer, source: Pointer, rows: int, t: int, s: int, size: int) -> None:
    """Copy so many bytes in each of some rows, which begin ``t`` and ``s`` bytes apart."""
    if size == 4:
        _column4(target, source, rows, t, s)
    elif size == 8:
        _column8(target, source, rows, t, s)
    elif size == 2:
        _column2(target, source, rows, t, s)
    elif size == 1:
        _column1(target, source, rows, t, s)
    else:
        for row in range(rows):
            copy_bytes(target + row * t, source + row * s, size)


@kernel
def concat(
    thread: int, part: int, until: int, parts: int, y: Pointer, rows: int, width: int,
    stride: int, count: int, pieces: Pointer,
) -> int:  # fmt: skip
    """Write ``rows`` rows of ``width`` bytes, ``stride`` bytes apart, each a run of every piece.

    ``pieces`` is a table of ``count`` rows, of columns ``PIECE_...``: the address of a run, its
    bytes, and the bytes from one row to the next. A piece at address 0 is a gap, whose bytes stay
    as they are. Many rows are split into parts, else the bytes of each.
    """
    first, last, begin, end = 0, rows, 0, width
    if rows >= MANY:
        first, last = rows * part // parts, rows * until // parts
    else:
        lines = (width + LINE - 1) // LINE
        begin = lines * part // parts * LINE
        end = min(lines * until // parts * LINE, width)
    bytes_ = FINE_BYTES if width < 2 * LINE * count else COARSE_BYTES
    block = max(bytes_ // max(width, 1), LEAST_ROWS)
    for row in range(first, last, block):
        at, i = 0, 0
        while at < end and i < count:
            piece = pieces + 8 * PIECE_COLUMNS * i
            source, size = load_i64(piece, PIECE_ADDRESS), load_i64(piece, PIECE_BYTES)
            low, high = max(begin - at, 0), min(end - at, size)
            if source != 0 and low < high:
                step = load_i64(piece, PIECE_STRIDE)
                _copy_runs(
                    y + row * stride + at + low, source + row * step + low,
                    min(block, last - row), stride, step, high - low,
                )  # fmt: skip
            at += size
            i += 1
    return 0
