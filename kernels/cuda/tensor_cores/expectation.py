"""Expected fraction of a GPU's peak that products and convolutions reach, from counts of a tile.

A block's stage takes as long as what is busiest: multiplications, shared memory, instructions, or
the way from the second cache. A block's life has a beginning, in which its first stage comes from
memory, and an end, in which sums pass shared memory and leave. Blocks that share a multiprocessor
hide each other's beginnings and ends, as far as there are others. The model knows no collisions of
banks (tests count them: none), no caches that miss, and no clock that is lowered under load.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from ..machines import Gpu
from .epilogue import RESULT_BYTES
from .tiles import FloatTile, GroupTile, Tile

_FIRST = 1200
"""Clocks until a block's first stage has come from memory: two latencies, and launch."""
_BETWEEN = 30
"""Clocks of a barrier between stages in which no other warp multiplies, with one block."""
_COPY = 5
"""Instructions of a copy of 16 bytes: address, predicate, comparison, itself."""
_WINDOW_COPY = 16
"""Those of a copy out of an image: the pixel's words, four borders, address."""


@dataclass(frozen=True)
class Stage:
    """What a stage of a block takes, in clocks of a multiprocessor.

    Attributes
    ----------
    multiply, shared, issue, fetch : float
        By the units that multiply, shared memory, instructions and the second cache.
    """

    multiply: float
    shared: float
    issue: float
    fetch: float

    @property
    def clocks(self) -> float:
        """The longest of them: the others are hidden."""
        return max(self.multiply, self.shared, self.issue, self.fetch)


def stage_of(tile: Tile | FloatTile, gpu: Gpu, copy: int = _COPY) -> Stage:
    """Count a stage of a tile, with so many instructions for a copy."""
    rate = gpu.multiply_adds[tile.element]
    products, warps = tile.m * tile.n * tile.k, tile.threads // 32
    fetched = (tile.m + tile.n) * tile.k * tile.size
    if isinstance(tile, FloatTile):
        loads = 4 * tile.k * warps
        in_pieces = 4 if tile.b_order == "kn" and tile.is_aligned else 1
        copies = (tile.m + tile.n // in_pieces) * tile.k // 32
        # A load of 128 bits of which neighbours want the same takes two turns of shared memory.
        shared = 2 * loads + copies
        issue = products / 32 + loads + copy * copies + 40 * warps
        return Stage(products / rate, shared, issue / gpu.ISSUED, fetched / gpu.l2_bytes)
    if isinstance(tile, GroupTile):
        read = (tile.m + tile.n * tile.m // 64) * tile.k * tile.size
        return Stage(
            products / rate,
            (read + fetched) / gpu.SHARED_RATE,
            warps * 40 / gpu.ISSUED,
            fetched / gpu.l2_bytes,
        )
    read = warps * (tile.warp_m + tile.warp_n) * tile.k * tile.size
    steps = 4 * (tile.warp_m // 16 * (tile.warp_n // 8) + tile.warp_m // 16 + tile.warp_n // 16)
    copies = fetched // 16 // 32 * (1 if tile.is_aligned else 16 // tile.size)
    issue = warps * (steps + 40) + (copy if tile.is_aligned else copy + 1) * copies
    return Stage(
        products / (rate * gpu.by_warps),
        (read + fetched) / gpu.SHARED_RATE,
        issue / gpu.ISSUED,
        fetched / gpu.l2_bytes,
    )


def fraction(
    tile: Tile | FloatTile, gpu: Gpu, blocks: int, m: int, n: int, k: int, taps: int = 0
) -> float:
    """Return the part of a GPU's peak that a product of m x k and k x n reaches.

    Parameters
    ----------
    tile : Tile
        How it is cut.
    gpu : Gpu
        Where it runs.
    blocks : int
        Blocks on a multiprocessor at a time.
    m, n, k : int
        Of a convolution: pixels of the result, filters, and taps times channels.
    taps : int
        Those of a convolution, whose images are in memory once; 0 of a product.
    """
    stage = stage_of(tile, gpu, _WINDOW_COPY if taps else _COPY)
    stages = ceil(k / tile.k)
    result_bytes = tile.m * tile.n * RESULT_BYTES[tile.result]
    bytes_per_clock = gpu.memory / gpu.clock / gpu.multiprocessors
    end = 2 * tile.m * tile.n * 4 / gpu.SHARED_RATE + result_bytes / bytes_per_clock
    between = 0 if isinstance(tile, GroupTile) else _BETWEEN / blocks
    body = stages * (stage.clocks + between)
    tiles = ceil(m / tile.m) * ceil(n / tile.n)
    mine = ceil(tiles / gpu.multiprocessors)
    together = min(blocks, mine)
    # Alone on its multiprocessor, a block hides nothing; else others multiply while it begins.
    shown = mine if together == 1 else 1 + (mine - 1) / (2 * together)
    clocks = mine * body + shown * (_FIRST + end)
    traffic = (m * k / max(taps, 1) + k * n) * tile.size + m * n * RESULT_BYTES[tile.result]
    clocks = max(clocks, traffic / (bytes_per_clock * gpu.multiprocessors))
    ideal = m * n * k / (gpu.multiply_adds[tile.element] * gpu.multiprocessors)
    return ideal / clocks
