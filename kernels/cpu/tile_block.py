"""Blocks of four tiles of AMX: sums of two tiles of rows by two of columns.

Tiles 0 to 3 hold the sums, upper row first; 4 and 5 what is read of the rows, 6 and 7 of the
columns. So four products follow four loads. A block may lack its lower half (not ``is_low``) or its
right one (not ``is_wide``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..amx import (
    ROW_BYTES,
    ROWS,
    begin,
    configure,
    describe,
    tile_load,
    tile_products,
    tile_store,
    tile_zero,
)
from ..registry import Pointer

SUMS, A, B = (0, 1, 2, 3), (4, 5), (6, 7)
"""Tiles of sums by row and column, of rows, and of columns."""


@njit
def configure_block(state: Pointer, height: int) -> None:
    """Begin with tiles of ``height`` rows, and of whole ones for columns."""
    begin(state)
    for tile in range(8):
        describe(state, tile, ROWS if tile >= 6 else height, ROW_BYTES)
    configure(state)


@njit(forceinline=True)
def clear_sums(state: Pointer, is_low: bool, is_wide: bool) -> None:
    """Let the sums be zeros."""
    tile_zero(state, 0)
    if is_wide:
        tile_zero(state, 1)
    if is_low:
        tile_zero(state, 2)
    if is_low and is_wide:
        tile_zero(state, 3)


def _make_move(move: Any) -> Any:
    """Make what moves the sums, whose rows are ``stride`` bytes apart, and halves side by side."""

    @njit(forceinline=True)
    def move_sums(
        state: Pointer, is_low: bool, is_wide: bool, upper: Pointer, lower: Pointer, stride: int
    ) -> None:  # fmt: skip
        move(state, 0, upper, stride)
        if is_wide:
            move(state, 1, upper + ROW_BYTES, stride)
        if is_low:
            move(state, 2, lower, stride)
        if is_low and is_wide:
            move(state, 3, lower + ROW_BYTES, stride)

    return move_sums


load_sums, store_sums = _make_move(tile_load), _make_move(tile_store)


@njit(forceinline=True)
def load_rows(state: Pointer, is_low: bool, upper: Pointer, lower: Pointer, stride: int) -> None:
    """Load 64 bytes of each row."""
    tile_load(state, 4, upper, stride)
    if is_low:
        tile_load(state, 5, lower, stride)


@njit(forceinline=True)
def load_columns(state: Pointer, is_wide: bool, b: Pointer, apart: int, stride: int) -> None:
    """Load what multiplies them; the right half is ``apart`` bytes from the left one."""
    tile_load(state, 6, b, stride)
    if is_wide:
        tile_load(state, 7, b + apart, stride)


def make_multiply(kind: str) -> Callable[[Pointer, bool, bool], None]:
    """Return what adds the products of a kind of ``amx.PRODUCTS``."""
    product = tile_products[kind]

    @njit(forceinline=True)
    def multiply(state: Pointer, is_low: bool, is_wide: bool) -> None:
        product(state, 0, 4, 6)
        if is_wide:
            product(state, 1, 4, 7)
        if is_low:
            product(state, 2, 5, 6)
        if is_low and is_wide:
            product(state, 3, 5, 7)

    return multiply
