"""Products of recurrent layers by AMX: states and weights are sums of bfloat16 terms.

With two terms of each operand their errors are 5e-6 of the largest sum (`bfloat_terms`), and
weights take as many bytes as in float32. The tiles of a panel's gates hold the sums of up to 16
sequences; a tile of weights, once loaded, multiplies all terms of the states that it has to.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import numpy as np
from numba import njit

from ..amx import (
    ROW_BYTES,
    ROW_WORDS,
    ROWS,
    STATE_WORDS,
    begin,
    configure,
    describe,
    release,
    tile_load,
    tile_products,
    tile_store,
    tile_zero,
)
from ..bfloat_terms import BLOCK, TERM_BYTES
from ..registry import Pointer
from ..scratch import scratch
from ..target import LANES
from .recurrent_products import float_operand
from .term_packing import terms_of
from .term_rows import make_split_pixel

TERMS = 2
MOST_ROWS = ROWS
"""Sequences whose states are multiplied at once."""
_MOST_GATES = 4
_A, _B = _MOST_GATES, _MOST_GATES + TERMS
"""Tiles: sums of each gate, then the terms of states, then weights."""
_TILE_BYTES = ROW_WORDS * LANES * 4
_BLOCK_WORDS = TERMS * ROW_WORDS
"""Words of a column of weights that multiply a block of units."""


def word_count(depth: int) -> int:
    """Words of a column of `words_of`."""
    return -(-depth // BLOCK) * _BLOCK_WORDS


def words_of(weights: np.ndarray) -> np.ndarray:
    """Split weights (..., depth): words of two bfloat16, by blocks of units, terms, and pairs."""
    *shape, depth = weights.shape
    blocks = -(-depth // BLOCK)
    padded = np.zeros((*shape, blocks * BLOCK), np.float32)
    padded[..., :depth] = weights
    split = [t.reshape(*shape, blocks, 1, BLOCK) for t in terms_of(padded, TERMS)]
    joined = np.ascontiguousarray(np.concatenate(split, axis=-2))
    return joined.view(np.int32).reshape(*shape, word_count(depth))


def term_operand(lanes: int, time_of: Any) -> tuple[Any, Any]:
    """Make the functions of `recurrent_products.byte_operand`: states become terms.

    A block of 32 units has all rows, ``TERMS * TERM_BYTES`` apart; zeros fill the last block. In a
    joined layer blocks of inputs, of the step that ``time_of`` says, come before those of states.
    """
    split_row, row_bytes = make_split_pixel(TERMS), TERMS * TERM_BYTES

    @njit
    def operand(
        layer: Any, state: Pointer, d: int, b: int, t: int, rows: int, scratch: Pointer,
        is_new: bool,
    ) -> Any:  # fmt: skip
        target = scratch + layer.states
        if is_new:
            plane = rows * row_bytes
            for row in range(rows):
                at = target + row * row_bytes
                if layer.features > 0:
                    time, _ = time_of(layer, d, b + row, t)
                    x = layer.x + (time * layer.x_step + (b + row) * layer.x_batch) * 4
                    split_row(x, at, plane, layer.features)
                    at += (layer.features + BLOCK - 1) // BLOCK * plane
                split_row(state + row * layer.vectors * lanes * 4, at, plane, layer.size)
        return target, row_bytes

    return operand, float_operand(lanes)[1]


# --- products ---------------------------------------------------------------------------------


def _in_turn(functions: Sequence[Any]) -> Any:
    """Make a function that calls others of three arguments, one after the other."""

    def pair(first: Any, second: Any) -> Any:
        @njit
        def both(state: Pointer, at: Pointer, stride: int) -> None:
            first(state, at, stride)
            second(state, at, stride)

        return both

    return reduce(pair, functions)


def _clear_gate(gate: int) -> Any:
    @njit
    def clear(state: Pointer, at: Pointer, stride: int) -> None:
        tile_zero(state, gate)

    return clear


def _store_gate(gate: int) -> Any:
    @njit
    def store(state: Pointer, at: Pointer, stride: int) -> None:
        tile_store(state, gate, at + gate * LANES * 4, stride)

    return store


def _load_term(term: int) -> Any:
    number = _A + term

    @njit
    def load(state: Pointer, at: Pointer, stride: int) -> None:
        tile_load(state, number, at + term * TERM_BYTES, stride)

    return load


def _multiply_gate(gate: int, term: int) -> Any:
    """Make the products of a gate's weights' term with those of the states that count."""
    multiply, first, second = tile_products["bf16"], _A, _A + 1

    @njit
    def add(state: Pointer, at: Pointer, stride: int) -> None:
        tile_load(state, _B, at + term * ROW_WORDS * stride + gate * _TILE_BYTES, LANES * 4)
        if term == 0:
            multiply(state, gate, second, _B)
        multiply(state, gate, first, _B)

    return add


def term_product(gates: int) -> Callable[..., None]:
    """Make the product of up to `MOST_ROWS` rows of terms with consecutive panels of weights.

    It takes what `recurrent_products.product_with_panels`'s does; ``lda`` are bytes.
    """
    each = range(gates)
    clear, store = (_in_turn([make(i) for i in each]) for make in (_clear_gate, _store_gate))
    load = _in_turn([_load_term(term) for term in range(TERMS)])
    # The smallest products first.
    order = [(gate, term) for term in reversed(range(TERMS)) for gate in each]
    multiply = _in_turn([_multiply_gate(gate, term) for gate, term in order])
    row_bytes = gates * LANES * 4

    @njit
    def shape(state: Pointer, rows: int) -> None:
        begin(state)
        for gate in range(gates):
            describe(state, gate, rows, LANES * 4)
        for term in range(TERMS):
            describe(state, _A + term, rows, ROW_BYTES)
        describe(state, _B, ROWS, LANES * 4)
        configure(state)

    @njit
    def product(
        operand: Any, b: Pointer, sums: Pointer, rows: int, panels: int, length: int, mr: int,
        tiles: Pointer, falling: int, fetches: bool,
    ) -> None:  # fmt: skip
        a, lda = operand
        state = scratch(STATE_WORDS)
        shape(state, rows)
        panel_bytes = length * row_bytes
        blocks = length // _BLOCK_WORDS
        for i in range(panels):
            p = panels - 1 - i if falling else i
            clear(state, 0, 0)
            at = b + p * panel_bytes
            for k in range(blocks):
                load(state, a + k * rows * lda, lda)
                multiply(state, at, row_bytes)
                at += _BLOCK_WORDS * row_bytes
            store(state, sums + p * row_bytes, panels * row_bytes)
        release(state)

    return product
