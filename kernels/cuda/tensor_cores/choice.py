"""Choice of a product's tile: the one that the model (`expectation`) expects to be done first."""

from __future__ import annotations

import dataclasses
from typing import Literal

from ..machines import Gpu
from .expectation import fraction
from .tiles import FloatTile, GroupTile, Tile

Order = Literal["nk", "kn"]
_WARPS = ((128, 256, 64, 64), (128, 128, 64, 32), (128, 64, 32, 32), (64, 64, 32, 32))
_STAGES = 3
_GROUPS = ((128, 256), (128, 128))
_FLOATS = ((128, 128), (64, 128), (64, 64))
_OTHERS = 70
"""Registers of a thread beside its sums: fragments, addresses."""


def fitting_blocks(tile: Tile | FloatTile, gpu: Gpu, shared_bytes: int) -> int:
    """Return how many blocks fit a multiprocessor at a time (0: not one)."""
    if shared_bytes > gpu.block_bytes:
        return 0
    if isinstance(tile, GroupTile):
        return 1  # groups hand registers on, so that a block has all of them
    sums = 64 if isinstance(tile, FloatTile) else tile.accumulators
    registers = min(sums + _OTHERS, 255) * tile.threads
    return min(gpu.shared_bytes // (shared_bytes + gpu.RESERVED), gpu.REGISTERS // registers)


def product_tiles(
    like: Tile | FloatTile, gpu: Gpu, has_groups: bool = True
) -> list[tuple[Tile | FloatTile, int]]:
    """Return the tiles that a GPU has kernels for, each with the blocks that fit.

    Parameters
    ----------
    like : Tile or FloatTile
        Its types, order of B and alignment are those of all.
    has_groups : bool
        Whether tensor maps can be made of the operands.
    """
    tiles: list[Tile | FloatTile] = []
    if isinstance(like, FloatTile):
        floats = _FLOATS if like.is_aligned else _FLOATS[-1:]
        tiles += [dataclasses.replace(like, m=m, n=n) for m, n in floats]
    else:
        fields = like.element, like.result
        rest: tuple[Order, bool] = (like.b_order, like.is_aligned)
        # Tiles whose elements are loaded one by one are made for shapes that are rare: one size.
        sizes = _WARPS if like.is_aligned else _WARPS[-1:]
        tiles += [Tile(*fields, *each, _STAGES, *rest) for each in sizes]
        if has_groups and gpu.target == "sm_90a" and like.is_aligned and like.b_order == "nk":
            tiles += [GroupTile(*fields, m, n, 64, n, 4) for m, n in _GROUPS]
    found = [(tile, fitting_blocks(tile, gpu, tile.shared_bytes)) for tile in tiles]
    return [(tile, blocks) for tile, blocks in found if blocks]


def product_tile(
    like: Tile | FloatTile, gpu: Gpu, m: int, n: int, k: int, has_groups: bool = True
) -> tuple[Tile | FloatTile, int]:
    """Return the tile for a product of m x k and k x n, and the blocks that fit at a time."""

    def expected(choice: tuple[Tile | FloatTile, int]) -> tuple[float, int]:
        tile, blocks = choice
        # Where memory decides, small tiles: their blocks are more, and begin sooner.
        return fraction(tile, gpu, blocks, m, n, k), -tile.m * tile.n

    return max(product_tiles(like, gpu, has_groups), key=expected)
