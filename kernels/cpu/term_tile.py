"""Sums of products of bfloat16 terms in four tiles of AMX: 32 rows by 32 columns of float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from numba import njit

from ..amx import ROW_BYTES, ROWS, tile_load, tile_products, tile_store, tile_zero
from ..bfloat_terms import TERM_BYTES
from ..registry import Pointer
from ..simd import prefetch

TILE_BYTES = ROWS * ROW_BYTES
SUM_BYTES = 2 * ROW_BYTES
"""Bytes of a row of sums."""


class Sums(NamedTuple):
    """Sums over a window: taps of rows and columns, and blocks of channels; distances in bytes."""

    kernel_h: int
    kernel_w: int
    tap_h: int
    tap_w: int
    blocks: int
    block: int
    pixel: int


_multiply_tiles = tile_products["bf16"]


@njit
def _load_a(state: Pointer, is_low: bool, upper: Pointer, lower: Pointer, pixel: int) -> None:
    tile_load(state, 4, upper, pixel)
    if is_low:
        tile_load(state, 5, lower, pixel)


@njit
def _load_b(state: Pointer, is_wide: bool, b: Pointer) -> None:
    tile_load(state, 6, b, ROW_BYTES)
    if is_wide:
        tile_load(state, 7, b + TILE_BYTES, ROW_BYTES)


@njit
def _multiply(state: Pointer, is_low: bool, is_wide: bool) -> None:
    _multiply_tiles(state, 0, 4, 6)
    if is_wide:
        _multiply_tiles(state, 1, 4, 7)
    if is_low:
        _multiply_tiles(state, 2, 5, 6)
    if is_low and is_wide:
        _multiply_tiles(state, 3, 5, 7)


@njit
def _clear(state: Pointer) -> None:
    tile_zero(state, 0)
    tile_zero(state, 1)
    tile_zero(state, 2)
    tile_zero(state, 3)


@njit
def _store(state: Pointer, is_low: bool, is_wide: bool, c: Pointer) -> None:
    tile_store(state, 0, c, SUM_BYTES)
    if is_wide:
        tile_store(state, 1, c + ROW_BYTES, SUM_BYTES)
    if is_low:
        tile_store(state, 2, c + ROWS * SUM_BYTES, SUM_BYTES)
    if is_low and is_wide:
        tile_store(state, 3, c + ROWS * SUM_BYTES + ROW_BYTES, SUM_BYTES)


def make_sums(terms: int) -> Callable[..., None]:
    """Return what sums up two halves of a block of rows, ``upper`` and ``lower`` (0: none).

    Of both operands the terms of a block of channels follow each other; ``b`` is a panel.
    """

    @njit
    def add(
        state: Pointer, is_low: bool, is_wide: bool, upper: Pointer, lower: Pointer, pixel: int,
        b: Pointer, other: int,
    ) -> None:  # fmt: skip
        """Add a block of channels; terms of b are ``other`` bytes apart. Small products first."""
        if terms == 1:
            _load_a(state, is_low, upper, lower, pixel)
            _load_b(state, is_wide, b)
            _multiply(state, is_low, is_wide)
        elif terms == 2:
            _load_a(state, is_low, upper, lower, pixel)
            _load_b(state, is_wide, b + other)
            _multiply(state, is_low, is_wide)
            _load_b(state, is_wide, b)
            _multiply(state, is_low, is_wide)
            _load_a(state, is_low, upper + TERM_BYTES, lower + TERM_BYTES, pixel)
            _multiply(state, is_low, is_wide)
        else:
            _load_a(state, is_low, upper + 2 * TERM_BYTES, lower + 2 * TERM_BYTES, pixel)
            _load_b(state, is_wide, b)
            _multiply(state, is_low, is_wide)
            _load_a(state, is_low, upper + TERM_BYTES, lower + TERM_BYTES, pixel)
            _multiply(state, is_low, is_wide)
            _load_b(state, is_wide, b + other)
            _multiply(state, is_low, is_wide)
            _load_a(state, is_low, upper, lower, pixel)
            _multiply(state, is_low, is_wide)
            _load_b(state, is_wide, b + 2 * other)
            _multiply(state, is_low, is_wide)
            _load_b(state, is_wide, b)
            _multiply(state, is_low, is_wide)

    @njit
    def sums(
        state: Pointer, own: Sums, is_wide: bool, upper: Pointer, lower: Pointer, b: Pointer,
        c: Pointer, ahead: Pointer, lines: int,
    ) -> None:  # fmt: skip
        """Store the sums to ``c``; each block asks for so many ``lines`` of what is ``ahead``."""
        is_low = lower != 0
        other = TILE_BYTES * (2 if is_wide else 1)
        _clear(state)
        for tap_h in range(own.kernel_h):
            for tap_w in range(own.kernel_w):
                at = tap_h * own.tap_h + tap_w * own.tap_w
                for _ in range(own.blocks):
                    add(state, is_low, is_wide, upper + at, lower + at, own.pixel, b, other)
                    for line in range(lines):
                        prefetch(ahead + line * ROW_BYTES)
                    ahead += lines * ROW_BYTES
                    at += own.block
                    b += terms * other
        _store(state, is_low, is_wide, c)

    return sums
