"""Packing of weights into the panels that the tile streams, and choice of the tile."""

from __future__ import annotations

import functools

import numpy as np

from ..arithmetic import HAS_QUADS
from ..target import EMBEDDED_BROADCAST, LANES, REGISTERS
from .operands import max_rows

# Measured on cores with AVX2 (AMD Zen 3) and AVX-512 (Zen 4, where a multiply-add takes both
# units). A tile's fixed cost, beside that of its stores:
_TILE_CYCLES = 10.0 if EMBEDDED_BROADCAST else 30.0
# A chain of multiply-adds has a latency of four cycles, and is never fed without a gap.
_LATENCY_CYCLES = 4.5
# Two loads a cycle are never reached.
_LOAD_CYCLES = 0.75
# What spreading a number over a vector adds to the multiply-adds that use it.
_SPREAD_CYCLES = 0.2
# A product of pairs that an addition of its own follows: both units multiply, and all four add.
_PAIR_CYCLES = 0.62


def pack_matrix(b: np.ndarray, nv: int) -> np.ndarray:
    """Pack a (K, N) matrix in panels of ``nv`` vectors of columns.

    Returns
    -------
    ndarray
        Of the matrix's elements: panels one after the other, each (K, width); the last panel is as
        wide as the remaining columns rounded up to vectors, padded with zeros.
    """
    depth, columns = b.shape
    lanes = LANES * 4 // b.itemsize
    panel = nv * lanes
    full = columns // panel
    remaining = columns - full * panel
    width = -(-remaining // lanes) * lanes
    packed = np.zeros(depth * (full * panel + width), b.dtype)
    head = packed[: depth * full * panel].reshape(full, depth, panel)
    head[:] = b[:, : full * panel].reshape(depth, full, panel).transpose(1, 0, 2)
    if remaining:
        packed[depth * full * panel :].reshape(depth, width)[:, :remaining] = b[:, full * panel :]
    return packed


def pack_conv(weights: np.ndarray, groups: int, nv: int) -> np.ndarray:
    """Pack convolution weights (M, C / groups, kd, kh, kw): per group, panels of (taps, c, m)."""
    out_channels = weights.shape[0]
    per_group = out_channels // groups
    parts = []
    for group in range(groups):
        part = weights[group * per_group : (group + 1) * per_group]
        parts.append(pack_matrix(part.transpose(2, 3, 4, 1, 0).reshape(-1, per_group), nv))
    return np.concatenate(parts) if groups > 1 else parts[0]


def pack_points(points: np.ndarray, groups: int, nv: int) -> np.ndarray:
    """Pack transformed weights (points, C / groups, M): per point and group, panels of (c, m)."""
    per_group = points.shape[2] // groups
    parts = [
        pack_matrix(point[:, group * per_group : (group + 1) * per_group], nv)
        for point in points
        for group in range(groups)
    ]
    return np.concatenate(parts)


def choose_tile(
    width: int | None, out_channels: int, depth: int, kind: str = "f32"
) -> tuple[int, int]:
    """Choose the cheapest tile; see `rank_tiles`."""
    return rank_tiles(width, out_channels, depth, kind)[0]


@functools.cache
def rank_tiles(
    width: int | None, out_channels: int, depth: int, kind: str = "f32"
) -> tuple[tuple[int, int], ...]:
    """List (rows, vectors) of tiles for rows of ``width`` pixels (None: unknown, long), by cost.

    ``kind`` is that of the numbers (``arithmetic``).

    The cost of a tile is the largest of its multiply-adds, its loads and the latency of a chain
    of multiply-adds, per step of a reduction of ``depth`` steps, plus a fixed part; a row is split
    nearly evenly, so a tile may have fewer rows than it could.
    """
    candidates, is_apart = [], kind == "i16" and LANES == 8 and not HAS_QUADS
    vectors = -(-out_channels // LANES)
    for nv in range(1, min(vectors, 4) + 1):
        limit = max_rows(nv)
        if is_apart and nv > 1:  # products need a register before they are added
            limit = min(limit, (REGISTERS - nv - 2) // nv)
        pixels = width or 10 * limit
        pieces = -(-pixels // limit)
        size, larger = divmod(pixels, pieces)
        full, tail = divmod(vectors, nv)
        cycles = 0.0
        for count, rows in ((larger, size + 1), (pieces - larger, size)):
            cycles += count * full * _tile_cycles(rows, nv, depth, is_apart)
            cycles += count * _tile_cycles(rows, tail, depth, is_apart) if tail else 0.0
        # Of two that cost the same, the narrower.
        candidates.append((cycles / pixels * 1.001**nv, limit, nv))
    return tuple((rows, nv) for _, rows, nv in sorted(candidates))


def _tile_cycles(rows: int, nv: int, depth: int, is_apart: bool) -> float:
    """Cost of a tile; ``is_apart`` where sums are added by instructions of their own."""
    if EMBEDDED_BROADCAST:
        step = max(rows * (nv + _SPREAD_CYCLES), _LATENCY_CYCLES)
    else:
        products = rows * nv * (_PAIR_CYCLES if is_apart else 0.5)
        step = max(products, (rows + nv) * _LOAD_CYCLES, _LATENCY_CYCLES)
    return depth * step + _TILE_CYCLES + 2 * rows * nv


def tile_rows(width: int, mr: int) -> set[int]:
    """Row counts of the tiles that a row of ``width`` pixels is split into."""
    pieces = -(-width // mr)
    size, larger = divmod(width, pieces)
    return {size + 1, size} if larger else {size}


def flat_width(total: int, mr: int) -> int:
    """Width of the rows that one long row of ``total`` pixels is cut into.

    Rows of four tiles give the threads something to share; as even as can be, so that the last
    one is not much narrower.
    """
    tiles = (total + mr - 1) // mr
    rows = (tiles + 3) // 4
    return (total + rows - 1) // rows


def padded_channels(out_channels: int, panel: int, lanes: int = LANES) -> int:
    """Channels of a group's packed weights: the last panel has its own width."""
    full = out_channels // panel * panel
    return full + (out_channels - full + lanes - 1) // lanes * lanes
