"""Packing of weights into the panels that the tile streams, and choice of the tile."""

from __future__ import annotations

import functools

import numpy as np

from ..arithmetic import HAS_QUADS
from ..costs import TileCosts, tile_terms
from ..machine_costs import machine_costs
from ..target import LANES, REGISTERS
from .operands import max_rows

_READ_AGAIN = 0.02
"""What it adds to a product to read its image once. A tile of n vectors reads it once for each n;
in networks it is further away than in trials, whose costs differ by less than that."""
_PAIR_COST = 1.24
"""Of a product of pairs that is added by an instruction of its own, by that of a multiply-add."""


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
    width: int | None, out_channels: int, depth: int, stride: int | None = None, kind: str = "f32"
) -> tuple[int, int]:
    """Choose the cheapest tile; see `rank_tiles`."""
    return rank_tiles(width, out_channels, depth, stride, kind)[0]


def rank_tiles(
    width: int | None, out_channels: int, depth: int, stride: int | None = None, kind: str = "f32"
) -> tuple[tuple[int, int], ...]:
    """List (rows, vectors) of tiles for rows of ``width`` pixels (None: unknown, long), by cost.

    A row is split nearly evenly, so a tile may have fewer rows than it could. Pixels are ``stride``
    bytes apart; None: as far as ``depth`` numbers. ``kind`` is that of the numbers
    (``arithmetic``).
    """
    stride = 4 * depth if stride is None else stride
    ranked = _ranked(width, out_channels, depth, stride, kind, machine_costs().tile)
    return tuple((rows, nv) for _, rows, nv in ranked)


def pixel_cost(
    width: int | None, out_channels: int, depth: int, stride: int | None = None
) -> float:
    """Return what all sums of a pixel cost with the cheapest tile; see `rank_tiles`."""
    stride = 4 * depth if stride is None else stride
    return _ranked(width, out_channels, depth, stride, "f32", machine_costs().tile)[0][0]


@functools.cache
def _ranked(
    width: int | None, out_channels: int, depth: int, stride: int, kind: str, model: TileCosts
) -> tuple[tuple[float, int, int], ...]:
    """List the cost of a pixel, rows and vectors of tiles, the cheapest first."""
    candidates = []
    is_apart = kind == "i16" and LANES == 8 and not HAS_QUADS
    if is_apart:
        model = model._replace(multiply_add=model.multiply_add * _PAIR_COST)
    for nv in range(1, min(-(-out_channels // LANES), 4) + 1):
        limit = max_rows(nv, kind)
        if is_apart and nv > 1:  # products need a register before they are added
            limit = min(limit, (REGISTERS - nv - 2) // nv)
        terms = pixel_terms(width, out_channels, depth, stride, nv, model.chain, limit)
        candidates.append((model.of(terms) * (1 + _READ_AGAIN / nv), limit, nv))
    return tuple(sorted(candidates))


def pixel_terms(
    width: int | None, out_channels: int, depth: int, stride: int, nv: int, chain: float, limit: int
) -> tuple[float, ...]:
    """Return what the coefficients of tiles of ``nv`` vectors are multiplied by, for a pixel.

    ``limit`` is the most rows of such a tile.
    """
    pixels = width or 10 * limit
    pieces = -(-pixels // limit)
    size, larger = divmod(pixels, pieces)
    full, tail = divmod(-(-out_channels // LANES), nv)
    kinds = [(larger * full, size + 1, nv), ((pieces - larger) * full, size, nv)]
    if tail:
        kinds += [(larger, size + 1, tail), (pieces - larger, size, tail)]
    terms = [(count, tile_terms(rows, n, depth, stride, chain)) for count, rows, n in kinds]
    return tuple(
        sum(count * each[i] for count, each in terms) / pixels for i in range(len(terms[0][1]))
    )


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
