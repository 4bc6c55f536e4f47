"""Keys and values of a head as tiles of AMX multiply them, rounded to bfloat16.

A word of a tile is a pair of what is summed up: two neighbouring elements of a key, which lie so,
or the same element of two neighbouring keys' values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..amx import ROW_BYTES, ROWS
from ..bfloat_terms import BLOCK, blocks_of, count_blocks, make_split, store_words
from ..registry import Pointer
from ..scratch import scratch
from ..shuffle import transpose_block
from ..target import LANES
from ..vector_memory import ITEM_BYTES, VECTOR_MEMORY
from ..vmath import c
from .rows import zero_floats
from .term_tile import TILE_BYTES

_transpose = transpose_block(4)
_SQUARE_WORDS = ROWS * ROW_BYTES // 8


def packed_bytes(size: Any, width: Any, keys: Any) -> Any:
    """Bytes of the keys and of the values of a head."""
    each = blocks_of(keys) * 2 * TILE_BYTES
    return each * blocks_of(size), each * blocks_of(width)


def make_pack_keys(kind: str) -> Callable[..., None]:
    """Return what packs keys of a kind, ``row`` elements apart: tiles of 16 keys.

    By blocks of 32 keys, then of 32 elements; zeros fill the last ones.
    """
    split, itemsize = make_split(1, kind), ITEM_BYTES[kind]

    @njit
    def pack_tile(k: Pointer, row: int, target: Pointer, rows: int, count: int) -> None:
        square = scratch(_SQUARE_WORDS)
        if rows < ROWS:
            zero_floats(square, ROWS * ROWS)
        for i in range(min(rows, ROWS)):
            split(k + i * row * itemsize, square + i * ROW_BYTES, count)
        for i in range(0, ROWS, LANES):
            for j in range(0, ROWS, LANES):
                source, turned = square + i * ROW_BYTES + j * 4, target + j * ROW_BYTES + i * 4
                _transpose(source, ROW_BYTES, turned, ROW_BYTES)

    @njit
    def pack_keys(k: Pointer, row: int, target: Pointer, keys: int, size: int) -> None:
        for t in range(0, keys, BLOCK):
            for e in range(0, size, BLOCK):
                for i in range(t, t + BLOCK, ROWS):
                    pack_tile(k + (i * row + e) * itemsize, row, target, keys - i, size - e)
                    target += TILE_BYTES

    return pack_keys


def make_pack_values(kind: str) -> Callable[..., None]:
    """Return what packs values of a kind, ``row`` elements apart: tiles of 16 elements.

    By panels of 32 elements, the last of 16 where no more are left, then by ``blocks`` of 32 keys,
    of which those that hold keys are written; zeros fill the last one.
    """
    load, _, load_first, _ = VECTOR_MEMORY[kind]
    itemsize = ITEM_BYTES[kind]

    @njit(forceinline=True)
    def load_some(source: Pointer, count: int) -> Any:
        return load(source, 0) if count >= LANES else load_first(source, 0, max(count, 0))

    @njit
    def pack_values(
        v: Pointer, row: int, target: Pointer, keys: int, width: int, blocks: int
    ) -> None:  # fmt: skip
        for j in range(0, width, BLOCK):
            tiles = 2 if width - j > ROWS else 1
            for t in range(0, count_blocks(keys) * BLOCK, 2):
                pair = target + t // BLOCK * tiles * TILE_BYTES + t % BLOCK // 2 * ROW_BYTES
                source = v + (t * row + j) * itemsize
                for i in range(0, tiles * ROWS, LANES):
                    low, high, at = c(0.0), c(0.0), source + i * itemsize
                    if t < keys:
                        low = load_some(at, width - j - i)
                    if t + 1 < keys:
                        high = load_some(at + row * itemsize, width - j - i)
                    store_words(pair + i // ROWS * TILE_BYTES, 2 * (i % ROWS), low, high)
            target += blocks * tiles * TILE_BYTES

    return pack_values
