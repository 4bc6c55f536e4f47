"""Sums of products of bfloat16 terms in four tiles of AMX: 32 rows by 32 columns of float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import njit

from ..amx import ROW_BYTES, ROWS
from ..bfloat_terms import TERM_BYTES
from ..registry import Pointer
from ..simd import prefetch
from .tile_block import (
    clear_sums,
    load_columns,
    load_rows,
    load_sums,
    make_multiply,
    store_sums,
)

TILE_BYTES = ROWS * ROW_BYTES
SUM_BYTES = 2 * ROW_BYTES
"""Bytes of a row of sums."""


class Sums(NamedTuple):
    """Sums over a window: taps of rows and columns, and blocks of channels; distances in bytes.

    Rows of the sums are ``row`` apart.
    """

    kernel_h: int
    kernel_w: int
    tap_h: int
    tap_w: int
    blocks: int
    block: int
    pixel: int
    row: int


class Ahead(NamedTuple):
    """Memory that is needed next: so many lines of it are fetched at each step."""

    address: Pointer
    lines: int


@njit(forceinline=True)
def fetch_ahead(own: Ahead, step: int) -> None:
    """Ask for the lines of a step."""
    at = own.address + step * own.lines * ROW_BYTES
    for line in range(own.lines):
        prefetch(at + line * ROW_BYTES)


_multiply = make_multiply("bf16")


def make_sums(terms: int, beside: Any = fetch_ahead) -> Callable[..., None]:
    """Return what sums up two halves of a block of rows, ``upper`` and ``lower`` (0: none).

    Of both operands the terms of a block of channels follow each other; ``b`` is a panel, for each
    block of channels all taps. While tiles multiply, vectors work: ``beside(work, step)`` is called
    behind the products of each tap of a block, which are steps.
    """

    @njit
    def add(
        state: Pointer, is_low: bool, is_wide: bool, upper: Pointer, lower: Pointer, pixel: int,
        b: Pointer, other: int,
    ) -> None:  # fmt: skip
        """Add a block of channels; terms of b are ``other`` bytes apart. Small products first."""
        if terms == 1:
            load_rows(state, is_low, upper, lower, pixel)
            load_columns(state, is_wide, b, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)
        elif terms == 2:
            load_rows(state, is_low, upper, lower, pixel)
            load_columns(state, is_wide, b + other, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)
            load_columns(state, is_wide, b, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)
            load_rows(state, is_low, upper + TERM_BYTES, lower + TERM_BYTES, pixel)
            _multiply(state, is_low, is_wide)
        else:
            load_rows(state, is_low, upper + 2 * TERM_BYTES, lower + 2 * TERM_BYTES, pixel)
            load_columns(state, is_wide, b, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)
            load_rows(state, is_low, upper + TERM_BYTES, lower + TERM_BYTES, pixel)
            _multiply(state, is_low, is_wide)
            load_columns(state, is_wide, b + other, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)
            load_rows(state, is_low, upper, lower, pixel)
            _multiply(state, is_low, is_wide)
            load_columns(state, is_wide, b + 2 * other, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)
            load_columns(state, is_wide, b, TILE_BYTES, ROW_BYTES)
            _multiply(state, is_low, is_wide)

    @njit(forceinline=True)
    def sums(
        state: Pointer, own: Sums, is_wide: bool, upper: Pointer, lower: Pointer, b: Pointer,
        c: Pointer, begins: bool, work: Any,
    ) -> None:  # fmt: skip
        """Store the sums to ``c``, or unless this ``begins`` them, add them to what is there."""
        is_low = lower != 0
        other = TILE_BYTES * (2 if is_wide else 1)
        c_low = c + ROWS * own.row
        if begins:
            clear_sums(state, is_low, is_wide)
        else:
            load_sums(state, is_low, is_wide, c, c_low, own.row)
        step = 0
        # The taps of a block read nearly the same rows, which stay in the first-level cache.
        for block in range(own.blocks):
            for tap_h in range(own.kernel_h):
                at = block * own.block + tap_h * own.tap_h
                for _ in range(own.kernel_w):
                    add(state, is_low, is_wide, upper + at, lower + at, own.pixel, b, other)
                    beside(work, step)
                    at += own.tap_w
                    b += terms * other
                    step += 1
        store_sums(state, is_low, is_wide, c, c_low, own.row)

    return sums
