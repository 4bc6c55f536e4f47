"""Packing of weights into the panels that the tile streams, and choice of the tile."""

from __future__ import annotations

import functools

import numpy as np

from ..arithmetic import HAS_QUADS
from ..costs import TileCosts, tile_terms
from ..machine_costs import machine_costs
from ..target import L1_BYTES, L2_BYTES, LANES, REGISTERS
from ..unit_rates import pair_speed
from .operands import max_rows


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
    width: int | None, out_channels: int, depth: int, stride: int | None = None, kind: str = "f32",
    rows: int = 1,
) -> tuple[tuple[int, int], ...]:  # fmt: skip
    """List (rows, vectors) of tiles for ``rows`` rows of pixels by cost.

    Parameters
    ----------
    width : int, optional
        Pixels of a row (None: unknown, long), which is split nearly evenly: a tile may have fewer
        rows than it could.
    out_channels, depth : int
        Results of a pixel, and products of each.
    stride : int, optional
        Bytes between pixels; None: as far as ``depth`` numbers.
    kind : str
        That of the numbers (``arithmetic``).
    rows : int
        Of all pixels that meet the same weights.
    """
    stride = 4 * depth if stride is None else stride
    ranked = _ranked(width, out_channels, depth, stride, kind, rows, *_model())
    return tuple((mr, nv) for _, mr, nv in ranked)


def pixel_cost(
    width: int | None, out_channels: int, depth: int, stride: int | None = None, rows: int = 1
) -> float:
    """Return what all sums of a pixel cost with the cheapest tile; see `rank_tiles`."""
    stride = 4 * depth if stride is None else stride
    return _ranked(width, out_channels, depth, stride, "f32", rows, *_model())[0][0]


def _model() -> tuple[TileCosts, float]:
    costs = machine_costs()
    return costs.tile, costs.streams.near


@functools.cache
def _ranked(
    width: int | None, out_channels: int, depth: int, stride: int, kind: str, rows: int,
    model: TileCosts, near: float,
) -> tuple[tuple[float, int, int], ...]:  # fmt: skip
    """List the cost of a pixel, rows and vectors of tiles, the cheapest first.

    Panels read an image anew, from the second level where the first one does not hold it beside a
    panel. That takes what the bytes cost, or what it costs to spread the numbers if that is more;
    in trials the image is nearer.
    """
    candidates, pixel_bytes, most = [], min(4 * depth, stride), min(-(-out_channels // LANES), 4)
    is_far = width is None or width * rows * pixel_bytes + 4 * LANES * most * depth > L1_BYTES
    numbers = max(pixel_bytes * near - depth * model.spread, 0.0) if is_far else 0.0
    is_apart = kind == "i16" and LANES == 8 and not HAS_QUADS
    if is_apart:  # an instruction multiplies, another one adds
        model = model._replace(multiply_add=model.multiply_add * 2 / pair_speed())
    for nv in range(1, most + 1):
        limit = max_rows(nv, kind)
        if is_apart and nv > 1:  # products need a register before they are added
            limit = min(limit, (REGISTERS - nv - 2) // nv)
        terms = pixel_terms(width, out_channels, depth, stride, nv, model.chain, limit, rows)
        panels = -(-out_channels // (nv * LANES))
        candidates.append((model.of(terms) + panels * numbers, -nv, limit))
    return tuple((cost, limit, -negative) for cost, negative, limit in sorted(candidates))


def pixel_terms(
    width: int | None, out_channels: int, depth: int, stride: int, nv: int, chain: float,
    limit: int, rows: int = 1,
) -> tuple[float, ...]:  # fmt: skip
    """Return what the coefficients of tiles of ``nv`` vectors are multiplied by, for a pixel.

    ``limit`` is the most rows of such a tile; for the others see `rank_tiles`.
    """
    pixels = width or 10 * limit
    pieces = -(-pixels // limit)
    size, larger = divmod(pixels, pieces)
    full, tail = divmod(-(-out_channels // LANES), nv)
    kinds = [(larger * full, size + 1, nv), ((pieces - larger) * full, size, nv)]
    if tail:
        kinds += [(larger, size + 1, tail), (pieces - larger, size, tail)]
    terms = [(count, tile_terms(mr, n, depth, stride, chain)) for count, mr, n in kinds]
    # A single pixel waits for its weights anyway.
    panels = depth * (full * nv**2 + tail**2) / rows if pixels * rows > 1 else 0.0
    of_tiles = (sum(count * each[i] for count, each in terms) for i in range(len(terms[0][1])))
    return tuple(total / pixels for total in (*of_tiles, panels))


def panel_bytes(mr: int, nv: int) -> int:
    """Return how many bytes of weights tiles take at a time, again and again.

    As many as the first-level cache holds beside other data, unless it costs more to store sums
    and read them again at the end of each block than to take weights from the second level.
    """
    costs, near = machine_costs(), L1_BYTES // 2
    vectors = near // (4 * LANES)
    pause = costs.tile.result * mr * nv + costs.tile.row * mr + costs.tile.tile
    return L2_BYTES // 2 if vectors * costs.reload <= pause else near


def tile_rows(width: int, mr: int) -> set[int]:
    """Row counts of the tiles that a row of ``width`` pixels is split into."""
    pieces = -(-width // mr)
    size, larger = divmod(width, pieces)
    return {size + 1, size} if larger else {size}


SHORT = 6
"""Rows of tiles that take longer for each with a row less: AVX2's, which loads bound."""


def flat_width(total: int, mr: int) -> int:
    """Width of the rows that one long row of ``total`` pixels is cut into.

    Rows of four tiles give the threads something to share; as even as can be, so that the last
    one is not much narrower. Where that takes more short tiles than there need to be, rows are
    whole tiles, and more of them, until the last one is at least half as wide. Tall ones are as
    fast with a row less, and threads share even rows better.
    """
    tiles = (total + mr - 1) // mr
    rows = (tiles + 3) // 4
    width = (total + rows - 1) // rows
    count = (total + width - 1) // width
    last = total - (count - 1) * width
    found = (count - 1) * ((width + mr - 1) // mr) + (last + mr - 1) // mr
    if found == tiles or mr > SHORT:
        return width
    while rows > 1:
        width = (tiles + rows - 1) // rows * mr
        if 2 * (total - (total - 1) // width * width) >= width:
            return width
        rows -= 1
    return total


def padded_channels(out_channels: int, panel: int, lanes: int = LANES) -> int:
    """Channels of a group's packed weights: the last panel has its own width."""
    full = out_channels // panel * panel
    return full + (out_channels - full + lanes - 1) // lanes * lanes
