"""Expected fraction of a GPU's peak that attention reaches, from counts of its tile.

A stage multiplies queries with a tile of keys, takes exponentials, and multiplies with values. A
warp does these one after the other, so exponentials are hidden by products of other blocks only.
"""

from __future__ import annotations

from math import ceil

from ..machines import Gpu
from .tiles import ELEMENT_BYTES
from .warp_attention import AttentionTile

_EXPONENTIALS = 16
"""Of a multiprocessor in a clock."""
_PER_SCORE = 6
"""Instructions for a score: scale, maximum, difference, sum, rounding, and what is counted up."""
_FIRST = 1200
"""Clocks until a block's queries and first keys have come from memory."""


def attention_fraction(
    tile: AttentionTile, gpu: Gpu, blocks: int, queries: int, keys: int, heads: int
) -> float:
    """Return the part of a GPU's peak that attention reaches.

    Parameters
    ----------
    tile : AttentionTile
        How it is cut; every query sees every key.
    gpu : Gpu
    blocks : int
        Blocks on a multiprocessor at a time.
    queries, keys, heads : int
        Heads are those of all batches.
    """
    rate, size = gpu.multiply_adds[tile.element], ELEMENT_BYTES[tile.element]
    scores, warps = tile.rows * tile.keys, tile.threads // 32
    products = 2 * scores * tile.head
    tiles_bytes = 2 * tile.keys * tile.head * size
    multiply = max(
        products / (rate * gpu.by_warps),
        (warps + 1) * tiles_bytes / gpu.SHARED_RATE,
        tiles_bytes / gpu.l2_bytes,
    )
    others = scores / _EXPONENTIALS + scores * _PER_SCORE / 32 / gpu.ISSUED
    stage = max(multiply, others) + min(multiply, others) / blocks
    stages = ceil(keys / tile.keys)
    end = 2 * tile.rows * tile.head * 4 / gpu.SHARED_RATE
    mine = ceil(ceil(queries / tile.rows) * heads / gpu.multiprocessors)
    clocks = mine * (stages * stage + (_FIRST + end) / blocks)
    ideal = 2 * queries * keys * tile.head * heads / (rate * gpu.multiprocessors)
    return ideal / clocks
