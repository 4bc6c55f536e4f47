"""Products of attention by vectors: the tile's, with keys and values read where they lie."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from ..registry import Pointer
from ..simd import store_i64
from ..target import LANES
from .attention_job import Attention, Item, Room
from .attention_scores import exponentials
from .panel import run_tiles
from .sum_stores import FIRST, LAST
from .tile import TILE, TILE_WORDS


class Products(NamedTuple):
    """Tiles of products whose rows are ``vectors`` wide, and the words they are called with."""

    words: Pointer
    tiles: Pointer
    mr: int
    vectors: int


@njit(forceinline=True)
def start(products: Products, job: Attention, room: Room) -> None:
    """Set the words of a tile that all products share."""
    words = products.words
    for word in range(TILE_WORDS):
        store_i64(words, word, 0)
    store_i64(words, TILE.ldc, products.vectors * LANES)
    store_i64(words, TILE.n, products.vectors * LANES)
    store_i64(words, TILE.s0, 1)


@njit(forceinline=True)
def multiply_keys(
    products: Products, job: Attention, item: Item, room: Room, t: int, keys: int, ahead: Pointer
) -> None:  # fmt: skip
    """Write ``s[i, lane]``, the products of the keys from ``t`` on with the queries.

    As many numbers as it writes are prefetched from ``ahead`` (0: none).
    """
    words, mr, q = products.words, products.mr, room.q
    line = products.vectors * LANES
    step = keys * line * 4 // max(1, (keys + mr - 1) // mr * job.size)
    store_i64(words, TILE.lda, item.k_row)
    store_i64(words, TILE.s1, 1)
    store_i64(words, TILE.sa1, 0)
    store_i64(words, TILE.length, job.size)
    store_i64(words, TILE.b, q)
    store_i64(words, TILE.ahead, q if ahead == 0 else ahead)
    store_i64(words, TILE.ahead_step, 0 if ahead == 0 else step)
    store_i64(words, TILE.flags, FIRST | LAST)
    k = item.k + t * item.k_row * 4
    run_tiles(products.tiles, words, k, room.s, 0, keys, 1, mr, 4, 0)


@njit(forceinline=True)
def take_exponentials(products: Products, room: Room, keys: int, a: Any, b: Any) -> Any:
    """Replace scores by exp(s - a), in the second vector of queries exp(s - b); return sums."""
    return exponentials(room.s, keys * products.vectors * LANES, a, b)


@njit(forceinline=True)
def add_values(
    products: Products, job: Attention, item: Item, room: Room, t: int, keys: int, begins: bool
) -> None:  # fmt: skip
    """Add the values of the keys from ``t`` on, times the exponentials, to ``o[j, lane]``.

    Or let the results begin with them.
    """
    words, mr, p = products.words, products.mr, room.s
    store_i64(words, TILE.lda, 1)
    store_i64(words, TILE.s1, keys)
    store_i64(words, TILE.sa1, item.v_row)
    store_i64(words, TILE.length, 1)
    store_i64(words, TILE.b, p)
    store_i64(words, TILE.ahead, p)
    store_i64(words, TILE.ahead_step, 0)
    store_i64(words, TILE.flags, (FIRST if begins else 0) | LAST)
    v = item.v + t * item.v_row * 4
    run_tiles(products.tiles, words, v, room.o, 0, job.width, 1, mr, 4, 0)
