"""Which convolutions are done by Winograd's algorithm, in which form; and their steps."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...kernels.cpu import cook_toom, packing
from ...kernels.cpu.winograd import winograd, workspace_bytes
from ...kernels.cpu.winograd_tiles import winograd_input, winograd_output
from ...kernels.target import L2_BYTES, LANES
from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Tensor
from .tiles import tile_table
from .windows import Window

# Outputs along an axis for a filter of so many taps and a stride: forms of 3 to 6 points.
_OUTPUTS = {(1, 1): (1,), (3, 1): (2, 4), (5, 1): (2,), (3, 2): (2, 4)}
# Bytes of points and products that are worked on at a time, and the fewest tiles: fewer would
# not use the weights often enough.
_BLOCK_BYTES = 2 * L2_BYTES
_LEAST_TILES = 64
# Measured on cores with AVX2 (AMD Zen 3) and AVX-512 (Zen 4): vector multiply-adds a cycle in
# direct convolutions and in products of points, and in cycles a vector of a point through both
# transforms and a byte of weights, which come from memory while others are used.
if LANES == 16:
    _DIRECT, _PRODUCTS, _TRANSFORM_CYCLES, _WEIGHT_CYCLES = 0.97, 0.98, 8.8, 0.15
else:
    _DIRECT, _PRODUCTS, _TRANSFORM_CYCLES, _WEIGHT_CYCLES = 1.9, 1.74, 5.0, 0.3
# Adding a product to the sum over the phases, in vectors of a transform.
_SUM = 0.3
# More points mean larger errors and weights; they have to be worth it.
_PREFERENCE = 1.05
# Stands for a size that is known only when the model runs.
_SIZE = 64


@functools.cache
def choose(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int] = (1, 1),
) -> tuple[int, int] | None:  # fmt: skip
    """Choose the pixels of a tile by cost; None: the direct convolution costs less.

    Parameters
    ----------
    kernel : tuple of int
        Rows and columns of the filter; dilation is 1.
    size : tuple of int
        Images, output rows, output columns.
    channels, out_channels : int
        Of one group.
    groups : int
    strides : tuple of int
    """
    images, height, width = size
    products = channels * out_channels * groups
    work = products / LANES
    taps = kernel[0] * kernel[1]
    fetch = products * 4 * _WEIGHT_CYCLES
    direct = taps * max(images * height * width * work / _DIRECT, fetch)
    best: tuple[float, tuple[int, int] | None] = (direct / _PREFERENCE, None)
    for mh, mw in _tiles(kernel, strides):
        points, sums, matrices = _counts((mh, mw), kernel, strides)
        tiles = images * math.ceil(height / mh) * math.ceil(width / mw)
        vectors = groups * (channels * points + out_channels * sums) / LANES
        vectors += groups * out_channels * (points - sums) / LANES * _SUM
        cycles = tiles * vectors * _TRANSFORM_CYCLES
        cycles += max(tiles * points * work / _PRODUCTS, matrices * fetch)
        if cycles < best[0] / (_PREFERENCE if best[1] else 1):
            best = cycles, (mh, mw)
    return best[1]


def _tiles(kernel: Sequence[int], strides: Sequence[int]) -> list[tuple[int, int]]:
    """Pixels of a tile in every form there is."""
    if tuple(kernel) == (1, 1):
        return []
    down, across = (_OUTPUTS.get(side, ()) for side in zip(kernel, strides, strict=True))
    return [(mh, mw) for mh in down for mw in across]


def _counts(
    tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
) -> tuple[int, int, int]:
    """Points of a tile over all phases, sums of their products, and matrices of weights."""
    sides = [
        cook_toom.phases(m, r, stride) for m, r, stride in zip(tile, kernel, strides, strict=True)
    ]
    points = math.prod(sum(len(phase.b) for phase in side) for side in sides)
    sums = math.prod(len(side[0].b) for side in sides)
    return points, sums, math.prod(sum(len(phase.g) for phase in side) for side in sides)


def legal_forms(emit: Emission, window: Window) -> list[tuple[int, int]]:
    """Pixels of a tile in every form a convolution may take; none where it has to be direct."""
    if emit.options["precision"] == "strict" or window.dilations != [1, 1]:
        return []
    return _tiles(window.kernel, window.strides)


def form_of(
    emit: Emission, window: Window, weights: np.ndarray, groups: int, y: Tensor
) -> tuple[int, int] | None:
    """Choose the form of a convolution by cost; None for the direct one."""
    if not legal_forms(emit, window):
        return None
    sizes = (y.shape[0], *y.shape[2:]) if len(y.shape) == 4 else (y.shape[0], 1, y.shape[2])
    known = [size if isinstance(size, int) else _SIZE for size in sizes]
    known[0] = sizes[0] if isinstance(sizes[0], int) else 1
    out_channels, channels = weights.shape[:2]
    kernel, strides = (window.kernel[0], window.kernel[1]), (window.strides[0], window.strides[1])
    return choose(kernel, tuple(known), channels, out_channels // groups, groups, strides)


def emit_winograd(
    emit: Emission, tile: tuple[int, int], window: Window, weights: np.ndarray, groups: int,
    tiles: Dim, name: str, fields: dict[str, Any],
) -> None:  # fmt: skip
    """Emit a step; ``fields`` are those the direct one has, too, and how many pixels are pooled."""
    out_channels, channels = weights.shape[:2]
    kernel, strides = (window.kernel[0], window.kernel[1]), (window.strides[0], window.strides[1])
    points, sums, _ = _counts(tile, kernel, strides)
    floats = points * channels * groups + sums * out_channels
    block = max(_LEAST_TILES, _BLOCK_BYTES // (floats * 4))
    if isinstance(tiles, int):
        block = min(block, tiles)
    per_group = out_channels // groups
    mr, nv = packing.choose_tile(block, per_group, channels)
    rows = set(range(1, mr + 1))
    tail = -(-per_group // LANES) % nv or nv
    table = tile_table(nv, rows)
    packed = packing.pack_points(cook_toom.transform_weights(weights, tile, strides), groups, nv)
    space = workspace_bytes(block, tile, kernel, strides, channels * groups, out_channels)
    emit.step(
        winograd,
        **fields,
        w=emit.constant(packed, f"{name}.weights"),
        tile_h=tile[0], tile_w=tile[1], kernel_h=kernel[0], kernel_w=kernel[1],
        stride_h=strides[0], stride_w=strides[1],
        mr=mr, nv=nv, tiles=table, tail_tiles=table if tail == nv else tile_table(tail, rows),
        inward=winograd_input(*tile, *kernel, *strides),
        outward=winograd_output(*tile, *kernel, *strides, fields["pool"]),
        block=block, workspace=emit.workspace(space), workspace_bytes=space,
    )  # fmt: skip
