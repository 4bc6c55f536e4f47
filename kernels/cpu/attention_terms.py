"""Products of attention by AMX: keys, values, queries and weights are sums of bfloat16 terms.

Keys and values of a head are split once, for all its queries. Scores are transposed, as those by
vectors are, so a row of keys is a row of a tile as it lies; values are turned, for their rows are
the elements that a result has. What is in lanes, queries and the exponentials of scores, is what
the tiles multiply (`bfloat_terms.make_split_columns`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import njit

from .. import vmath
from ..amx import ROWS
from ..bfloat_terms import (
    BLOCK,
    TERM_BYTES,
    count_blocks,
    make_split,
    make_split_columns,
    make_split_vectors,
    store_words,
)
from ..registry import Pointer
from ..scratch import scratch
from ..shuffle import transpose_block
from ..simd import vload
from ..target import LANES
from ..vmath import c
from .attention_job import KEYS, WIDE, Attention, Item, Room
from .rows import copy_floats, zero_floats
from .term_rows import make_split_pixel
from .term_tile import Ahead, Sums, make_sums

_transpose = transpose_block(4)
_SQUARE_WORDS, _TURNED_WORDS = LANES * LANES // 2, LANES * BLOCK // 2
"""Memory for squares of numbers, and for as many columns of a block of keys."""


_TERM_OF_WEIGHTS = BLOCK * WIDE * 2
"""Bytes of a term of the exponentials of a block of keys."""
_SECOND = LANES * 2 if LANES < ROWS else ROWS * TERM_BYTES // 2
"""Where the pairs of the second vector of queries are, behind those of the first, in bfloat16."""


class TermProducts(NamedTuple):
    """State of AMX, and memory for terms: of queries, of exponentials, of keys and of values."""

    state: Pointer
    q: Pointer
    p: Pointer
    k: Pointer
    v: Pointer
    vectors: int


@njit
def _rows_of(count: int) -> int:
    """Rows of whole tiles that hold so many."""
    return (count + ROWS - 1) // ROWS * ROWS


def query_bytes(terms: int, size: Any) -> Any:
    """Bytes of the terms of an item's queries."""
    return (size + BLOCK - 1) // BLOCK * BLOCK * WIDE * 2 * terms


def weight_bytes(terms: int) -> int:
    """Bytes of the terms of an item's exponentials."""
    return KEYS * WIDE * 2 * terms


def block_bytes(score_terms: int, value_terms: int, size: Any, width: Any) -> Any:
    """Bytes of the terms of a block of keys, and of their values."""
    k = (size + BLOCK - 1) // BLOCK * BLOCK * TERM_BYTES * score_terms
    return k, (width + ROWS - 1) // ROWS * ROWS * TERM_BYTES * value_terms


def make_split_keys(terms: int) -> Callable[..., None]:
    """Return what splits keys, ``row`` elements apart: by blocks of keys, then of elements."""
    split_row, pixel = make_split_pixel(terms), terms * TERM_BYTES

    @njit
    def split_keys(k: Pointer, row: int, target: Pointer, keys: int, size: int) -> None:
        plane = BLOCK * pixel
        for t in range(keys):
            at = target + t // BLOCK * count_blocks(size) * plane + t % BLOCK * pixel
            split_row(k + t * row * 4, at, plane, size)

    return split_keys


def make_split_values(terms: int) -> Callable[..., None]:
    """Return what splits values, ``row`` elements apart: by blocks of keys, then by elements."""
    split, pixel = make_split(terms), terms * TERM_BYTES

    @njit
    def turn(
        v: Pointer, row: int, rows: int, columns: int, target: Pointer, block: Pointer
    ) -> None:  # fmt: skip
        """Transpose a square of LANES rows, to rows of a block; zeros are where it has none."""
        if rows >= LANES and columns >= LANES:
            _transpose(v, row * 4, target, BLOCK * 4)
            return
        zero_floats(block, LANES * LANES)
        for i in range(min(rows, LANES)):
            copy_floats(v + i * row * 4, block + i * LANES * 4, min(columns, LANES))
        _transpose(block, LANES * 4, target, BLOCK * 4)

    @njit
    def split_values(v: Pointer, row: int, target: Pointer, keys: int, width: int) -> None:
        block, turned = scratch(_SQUARE_WORDS), scratch(_TURNED_WORDS)
        for t in range(0, keys, BLOCK):
            for j in range(0, width, LANES):
                for i in range(0, BLOCK, LANES):
                    at = v + ((t + i) * row + j) * 4
                    turn(at, row, keys - t - i, width - j, turned + i * 4, block)
                for i in range(LANES):
                    split(turned + i * BLOCK * 4, target + (j + i) * pixel, BLOCK)
            target += _rows_of(width) * pixel

    return split_values


def make_products(score_terms: int, value_terms: int) -> tuple[Any, Any, Any, Any]:
    """Make the functions of `attention_products`; of two vectors of queries."""
    split_queries = make_split_columns(score_terms)
    split_weights = make_split_vectors(store_words, value_terms, is_bounded=True)
    key_sums, value_sums = make_sums(score_terms), make_sums(value_terms)
    key_pixel, value_pixel = score_terms * TERM_BYTES, value_terms * TERM_BYTES

    @njit(forceinline=True)
    def start(products: TermProducts, job: Attention, room: Room) -> None:
        split_queries(room.q, products.q, job.size, products.vectors * LANES)

    @njit(forceinline=True)
    def multiply_keys(
        products: TermProducts, job: Attention, item: Item, room: Room, t: int, keys: int,
        ahead: Pointer,
    ) -> None:  # fmt: skip
        line = products.vectors * LANES
        blocks, plane = count_blocks(job.size), BLOCK * key_pixel
        over = Sums(1, 1, 0, 0, blocks, plane, key_pixel, line * 4)
        lines = BLOCK * line * 4 // TERM_BYTES // blocks if ahead != 0 else 0
        upper = products.k + t // BLOCK * blocks * plane
        for i in range(0, keys, BLOCK):
            lower = upper + ROWS * key_pixel if i + ROWS < keys else 0
            key_sums(
                products.state, over, line > ROWS, upper, lower, products.q,
                room.s + i * line * 4, True, Ahead(ahead + i * line * 4, lines),
            )  # fmt: skip
            upper += blocks * plane

    @njit(forceinline=True)
    def exponentials_of(s: Pointer, t: int, a: Any, b: Any) -> Any:
        e = vmath.exp_below_one(vload(s, t * WIDE) - a)
        return e, vmath.exp_below_one(vload(s, t * WIDE + LANES) - b)

    @njit(forceinline=True)
    def take_exponentials(
        products: TermProducts, room: Room, keys: int, a: Any, b: Any
    ) -> Any:  # fmt: skip
        """Split them as columns (`make_split_columns`); zeros fill the last block."""
        zero = c(0.0)
        even, odd = zero, zero
        for t in range(0, count_blocks(keys) * BLOCK, 2):
            low, low_b, high, high_b = zero, zero, zero, zero
            if t < keys:
                low, low_b = exponentials_of(room.s, t, a, b)
            if t + 1 < keys:
                high, high_b = exponentials_of(room.s, t + 1, a, b)
            even, odd = even + (low + high), odd + (low_b + high_b)
            at = products.p + t // BLOCK * value_terms * _TERM_OF_WEIGHTS
            at += t % BLOCK // 2 * TERM_BYTES
            split_weights(at, 0, _TERM_OF_WEIGHTS, low, high)
            split_weights(at, _SECOND, _TERM_OF_WEIGHTS, low_b, high_b)
        return even, odd

    @njit(forceinline=True)
    def add_values(
        products: TermProducts, job: Attention, item: Item, room: Room, t: int, keys: int,
        begins: bool,
    ) -> None:  # fmt: skip
        line = products.vectors * LANES
        plane = _rows_of(job.width) * value_pixel
        over = Sums(1, 1, 0, 0, count_blocks(keys), plane, value_pixel, line * 4)
        upper = products.v + t // BLOCK * plane
        for j in range(0, job.width, 2 * ROWS):
            lower = upper + ROWS * value_pixel if j + ROWS < job.width else 0
            value_sums(
                products.state, over, line > ROWS, upper, lower, products.p,
                room.o + j * line * 4, begins, Ahead(0, 0),
            )  # fmt: skip
            upper += 2 * ROWS * value_pixel

    return start, multiply_keys, take_exponentials, add_values
