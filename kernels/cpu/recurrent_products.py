"""Products of recurrent layers: rows of states and packed panels of weights.

Weights of 8 bits multiply states of 8 bits: each row becomes bytes anew at each step, with a scale
of its own, as DynamicQuantizeLinear has it. Sums of such products are whole numbers, which become
float32 where they lie.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..arithmetic import ARITHMETIC, KINDS
from ..registry import Pointer
from ..simd import (
    load_f32,
    load_i32,
    reduce_max,
    reduce_min,
    splat,
    splat_i32,
    stack_words,
    store_f32,
    store_i32,
    store_i64,
    to_f32,
    vload,
    vload_first,
    vload_i32,
    vmax,
    vmin,
    vrint,
    vstore,
)
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY
from .extremes import scale_of
from .panel import run_tiles
from .row_product import row_product
from .sum_stores import FIRST, LAST
from .tile import TILE, TILE_WORDS

_PANELS = {4: 2, 3: 3, 2: 4, 1: 8}
"""Panels of so many vectors that make enough chains of multiply-adds."""


def _product_of_a_row(nv: int, kind: str, halves: bool) -> Any:
    """Make the product of one row with consecutive panels of ``nv`` vectors."""
    side_by_side, number, is_half = _PANELS[nv], KINDS.index(kind), int(halves)
    width = nv * LANES * 4
    stored = width // 2 if halves else width

    @njit
    def one_row(
        a: Pointer, b: Pointer, sums: Pointer, panels: int, length: int, falling: int
    ) -> None:
        groups = panels // side_by_side
        for i in range(groups):
            p = (groups - 1 - i if falling else i) * side_by_side
            row_product(side_by_side, nv, number, is_half, a, b + p * length * stored,
                        sums + p * width, length)  # fmt: skip
        for p in range(groups * side_by_side, panels):
            row_product(1, nv, number, is_half, a, b + p * length * stored,
                        sums + p * width, length)  # fmt: skip

    return one_row


def product_with_halves(nv: int) -> Any:
    """Make `product_with_panels` for one row of float32, and weights stored as float16."""
    one_row = _product_of_a_row(nv, "f32", halves=True)

    @njit
    def product(
        operand: Any, b: Pointer, sums: Pointer, rows: int, panels: int, length: int, mr: int,
        tiles: Pointer, falling: int, fetches: bool,
    ) -> None:  # fmt: skip
        one_row(operand[0], b, sums, panels, length, falling)

    return product


@njit
def set_words(
    words: Pointer, ldc: int, width: int, rows: int, length: int, mr: int, panel_bytes: int,
    falling: int, fetches: bool,
) -> Any:  # fmt: skip
    """Set a tile's words that all panels share; bytes to the panel that is fetched meanwhile."""
    for word in range(TILE_WORDS):
        store_i64(words, word, 0)
    store_i64(words, TILE.ldc, ldc)
    store_i64(words, TILE.s0, 1)
    store_i64(words, TILE.s1, 1)
    store_i64(words, TILE.n, width)
    if not fetches:
        return 0
    uses = (rows + mr - 1) // mr
    store_i64(words, TILE.ahead_step, (panel_bytes + uses - 1) // uses)
    return length * (-panel_bytes if falling else panel_bytes)


@njit
def run_rows(
    words: Pointer, tiles: Pointer, a: Pointer, lda: int, b: Pointer, c: Pointer, length: int,
    flags: int, rows: int, mr: int, itemsize: int,
) -> None:  # fmt: skip
    """Run the tiles of a panel, or of a part of its ``length``."""
    store_i64(words, TILE.lda, lda)
    store_i64(words, TILE.b, b)
    store_i64(words, TILE.length, length)
    store_i64(words, TILE.flags, flags)
    run_tiles(tiles, words, a, c, 0, rows, 1, mr, itemsize, 0)


def product_with_panels(nv: int, kind: str) -> Any:
    """Make the product of some rows with consecutive panels of ``nv`` vectors."""
    one_row = _product_of_a_row(nv, kind, halves=False)
    itemsize = ARITHMETIC[kind].itemsize
    panel_bytes = nv * LANES * 4

    @njit
    def product(
        operand: Any, b: Pointer, sums: Pointer, rows: int, panels: int, length: int, mr: int,
        tiles: Pointer, falling: int, fetches: bool,
    ) -> None:  # fmt: skip
        """Multiply rows ``lda`` elements apart; sums of a row have the panels side by side.

        The ``operand`` is the first row's address, and ``lda``. Panels are taken from the first on
        or, ``falling``, from the last. With ``fetches`` the next one is fetched while the tiles of
        one use it several times.
        """
        a, lda = operand
        if rows == 1:
            one_row(a, b, sums, panels, length, falling)
            return
        width = panel_bytes // itemsize
        words = stack_words(TILE_WORDS)
        following = set_words(
            words, panels * width, width, rows, length, mr, panel_bytes, falling, fetches
        )
        for i in range(panels):
            p = panels - 1 - i if falling else i
            panel = b + p * length * panel_bytes
            store_i64(words, TILE.ahead, panel + following)
            run_rows(words, tiles, a, lda, panel, sums + p * panel_bytes, length, FIRST | LAST,
                     rows, mr, itemsize)  # fmt: skip

    return product


# --- states -----------------------------------------------------------------------------------


def float_operand(lanes: int) -> tuple[Any, Any]:
    """Make the functions of `byte_operand` for weights that multiply states as they are."""

    @njit
    def operand(
        layer: Any, state: Pointer, d: int, b: int, t: int, rows: int, scratch: Pointer,
        is_new: bool,
    ) -> Any:  # fmt: skip
        return state, layer.vectors * lanes

    @njit
    def finish(
        layer: Any, sums: Pointer, vector: int, count: int, scratch: Pointer, row: int
    ) -> None:
        return

    return operand, finish


def byte_operand(kind: str, gates: int) -> tuple[Any, Any]:
    """Make functions for weights of 8 bits; ``kind`` is that of their products (`arithmetic`).

    Returns
    -------
    (function, function)
        The first takes rows of states and returns those that the weights multiply, and their
        distance in elements; only for a thread's first item of a step it ``is_new``. The second
        makes float32 of a row's ``count`` sums, which begin with those of a ``vector`` of units.
    """
    quantize, dequantize = _quantize(kind), _dequantize(kind)
    state_bytes = 1 if kind == "u8" else 2

    @njit
    def place(layer: Any, scratch: Pointer, row: int) -> Any:
        """Addresses of a row's bytes and, behind those of all rows, of its scale and zero."""
        width = layer.vectors * LANES * state_bytes
        states = scratch + layer.states
        return states + row * width, states + layer.rows * width + 8 * row

    @njit
    def operand(
        layer: Any, state: Pointer, d: int, b: int, t: int, rows: int, scratch: Pointer,
        is_new: bool,
    ) -> Any:  # fmt: skip
        units = layer.vectors * LANES
        if is_new:
            for row in range(rows):
                target, numbers = place(layer, scratch, row)
                quantize(state + row * units * 4, target, numbers, layer.size)
        return scratch + layer.states, units * state_bytes // 4

    @njit
    def finish(
        layer: Any, sums: Pointer, vector: int, count: int, scratch: Pointer, row: int
    ) -> None:
        _, numbers = place(layer, scratch, row)
        at = vector * gates * LANES * 4
        dequantize(sums, numbers, layer.scales + at, layer.weight_sums + at, count)

    return operand, finish


@njit
def _extremes(row: Pointer, size: int) -> Any:
    """Least and largest of some float32 and 0."""
    low, high = splat(np.float32(0.0)), splat(np.float32(0.0))
    for i in range(0, size, LANES):
        value = vload(row, i) if i + LANES <= size else vload_first(row, i, size - i)
        low, high = vmin(value, low), vmax(value, high)
    return reduce_min(low), reduce_max(high)


def _quantize(kind: str) -> Any:
    """Make what turns a row into bytes or, of kind ``i16``, into pairs less their zero point.

    Its scale (float32) and zero point (int32) become ``numbers``. There is room for whole vectors;
    weights of zero meet what lies beyond the size.
    """
    keeps_zero = kind == "u8"
    store = VECTOR_MEMORY[kind][1]

    @njit
    def quantize(row: Pointer, target: Pointer, numbers: Pointer, size: int) -> None:
        least, most = _extremes(row, size)
        scale, zero = scale_of(least, most)
        store_f32(numbers, 0, scale)
        store_i32(numbers, 1, np.int32(zero))
        step, point = splat(scale), splat(zero)
        bottom, top = splat(np.float32(0.0)), splat(np.float32(255.0))
        for i in range(0, size, LANES):
            value = vmin(vmax(vrint(vload(row, i) / step) + point, bottom), top)
            store(target, i, value if keeps_zero else value - point)

    return quantize


def _dequantize(kind: str) -> Any:
    """Make what turns whole sums into float32, in place.

    Rows of bytes have kept their zero point: its product with the sums of the weights comes off.
    """
    keeps_zero = kind == "u8"

    @njit
    def dequantize(
        sums: Pointer, numbers: Pointer, scales: Pointer, weight_sums: Pointer, count: int
    ) -> None:
        step, point = splat(load_f32(numbers, 0)), splat_i32(load_i32(numbers, 1))
        for i in range(0, count, LANES):
            whole = vload_i32(sums, i)
            if keeps_zero:
                whole = whole - point * vload_i32(weight_sums, i)
            vstore(sums, i, to_f32(whole) * (step * vload(scales, i)))

    return dequantize
