"""Packs weights into the panels that the tile streams, and chooses the tile."""

from __future__ import annotations

import functools
import math

import numpy as np

from ..target import LANES
from .tile import max_rows

# Fixed cost of a tile in multiply-add cycles: start, store, call.
_TILE_CYCLES = 24.0


def pack_matrix(b: np.ndarray, nv: int) -> np.ndarray:
    """Pack a (K, N) matrix in panels of ``nv * LANES`` columns.

    Returns
    -------
    ndarray of float32
        Panels one after the other, each (K, width); the last panel is as wide as the remaining
        columns rounded up to vectors, padded with zeros.
    """
    depth, columns = b.shape
    panel = nv * LANES
    full = columns // panel
    rest = columns - full * panel
    width = -(-rest // LANES) * LANES
    packed = np.zeros(depth * (full * panel + width), np.float32)
    head = packed[: depth * full * panel].reshape(full, depth, panel)
    head[:] = b[:, : full * panel].reshape(depth, full, panel).transpose(1, 0, 2)
    if rest:
        packed[depth * full * panel :].reshape(depth, width)[:, :rest] = b[:, full * panel :]
    return packed


def pack_conv(weights: np.ndarray, groups: int, nv: int) -> np.ndarray:
    """Pack convolution weights (M, C / groups, kh, kw): per group, panels of (kh, kw, c, m)."""
    out_channels, channels, kernel_h, kernel_w = weights.shape
    per_group = out_channels // groups
    depth = channels * kernel_h * kernel_w
    parts = []
    for group in range(groups):
        part = weights[group * per_group : (group + 1) * per_group]
        parts.append(pack_matrix(part.transpose(2, 3, 1, 0).reshape(depth, per_group), nv))
    return np.concatenate(parts) if groups > 1 else parts[0]


@functools.cache
def choose_tile(width: int | None, out_channels: int) -> tuple[int, int]:
    """Choose (rows, vectors) of the tile for rows of ``width`` pixels (None: unknown, long).

    The cost of a tile is the largest of its multiply-adds (two a cycle), its loads (two a cycle)
    and the latency of a chain of multiply-adds (four cycles), per step of the reduction, plus a
    fixed part; a row is split nearly evenly, so a tile may have fewer rows than it could.
    """
    best = (math.inf, 1, 1)
    vectors = -(-out_channels // LANES)
    for nv in range(1, 5):
        limit = max_rows(nv)
        if limit < 1 or (nv > vectors and nv > 1):
            continue
        pieces = -(-(width or 10 * limit) // limit)
        rows = -(-(width or 10 * limit) // pieces)
        cycles = 0.0
        for here in [nv] * (vectors // nv) + ([vectors % nv] if vectors % nv else []):
            cycles += pieces * (max(rows * here / 2, (rows + here) / 2, 4.0) + _TILE_CYCLES / 64)
        cost = cycles / (width or 10 * limit)
        if cost < best[0] * 0.999:
            best = (cost, limit, nv)
    return best[1], best[2]


def tile_rows(width: int, mr: int) -> set[int]:
    """Row counts of the tiles that a row of ``width`` pixels is split into."""
    pieces = -(-width // mr)
    size, larger = divmod(width, pieces)
    return {size + 1, size} if larger else {size}
