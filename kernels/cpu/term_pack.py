"""Packing of matrices known only at run time as bfloat16 terms, as `term_packing` packs weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..bfloat_terms import BLOCK, make_split_columns
from ..registry import Pointer, kernel_factory
from ..scratch import scratch
from ..shuffle import transpose_block
from ..simd import load_f32, store_f32
from ..target import LANES
from .finish import COLUMNS
from .rows import copy_floats, zero_floats

_transpose = transpose_block(4)
_BLOCK_WORDS = BLOCK * COLUMNS // 2


@njit
def _copy_block(
    x: Pointer, x_row: int, x_column: int, rows: int, columns: int, target: Pointer, width: int
) -> None:  # fmt: skip
    """Copy a part of a matrix to a block whose rows are ``width`` elements; zeros fill it."""
    if rows < BLOCK or columns < width:
        zero_floats(target, BLOCK * width)
    if x_column == 1:
        for i in range(rows):
            copy_floats(x + i * x_row * 4, target + i * width * 4, columns)
        return
    if x_row == 1 and rows == BLOCK and columns % LANES == 0:
        for j in range(0, columns, LANES):
            for i in range(0, BLOCK, LANES):
                source = x + (j * x_column + i) * 4
                _transpose(source, x_column * 4, target + (i * width + j) * 4, width * 4)
        return
    for i in range(rows):
        for j in range(columns):
            store_f32(target, i * width + j, load_f32(x, i * x_row + j * x_column))


@kernel_factory
def term_pack(terms: int) -> Callable[..., int]:
    """Build the packing of sets of matrices of any strides as so many terms."""
    split = make_split_columns(terms)

    def body(
        thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, sets: int,
        rows: int, columns: int, x_set: int, x_row: int, x_column: int, y_set: int,
    ) -> int:  # fmt: skip
        """Strides are elements, ``y_set`` bytes; panels are split into parts."""
        panels = (columns + COLUMNS - 1) // COLUMNS
        blocks = (rows + BLOCK - 1) // BLOCK
        block = scratch(_BLOCK_WORDS)
        for index in range(sets * panels * part // parts, sets * panels * until // parts):
            own, first = index // panels, index % panels * COLUMNS
            count = min(COLUMNS, columns - first)
            width = COLUMNS if count > COLUMNS // 2 else COLUMNS // 2
            target = y + own * y_set + first * blocks * BLOCK * 2 * terms
            for k in range(blocks):
                row = k * BLOCK
                source = x + (own * x_set + row * x_row + first * x_column) * 4
                _copy_block(source, x_row, x_column, min(BLOCK, rows - row), count, block, width)
                split(block, target, BLOCK, width)
                target += BLOCK * width * 2 * terms
        return 0

    return body


def packed_bytes(terms: int, rows: Any, columns: Any) -> Any:
    """Bytes of a packed matrix: whole blocks of rows, and whole tiles of columns."""
    half = COLUMNS // 2
    blocks, tiles = (rows + BLOCK - 1) // BLOCK, (columns + half - 1) // half
    return blocks * BLOCK * tiles * half * 2 * terms
