"""Winograd's form of a convolution: where it is legal, where it pays, and its step."""

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
from ..symbolic import ceil_divide
from .convolution import Convolution
from .pooled import absorb_pool
from .tiles import tile_fields
from .windows import (
    Window,
    depth_fields,
    height_width,
    pair_fields,
    size_fields,
    slices_of,
    stride_fields,
)

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
# Adding a product to the sum over the polyphase components of a strided filter, in vectors of a
# transform.
_SUM = 0.3
# More points mean larger errors and weights; they have to be worth it.
_PREFERENCE = 1.05
# Stands for a size that is known only when the model runs.
_SIZE = 64


@functools.cache
def choose(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int] = (1, 1), slices: int = 1,
) -> tuple[int, int] | None:  # fmt: skip
    """Choose the pixels of a tile by cost; None: the direct convolution costs less.

    Parameters
    ----------
    kernel : tuple of int
        Rows and columns of the filter; dilation is 1.
    size : tuple of int
        Images (or slices of volumes), output rows, output columns.
    channels, out_channels : int
        Of one group.
    groups : int
    strides : tuple of int
    slices : int
        Of the input, whose convolutions are summed in a slice of the output.
    """
    images, height, width = size
    products = channels * out_channels * groups * slices
    work = products / LANES
    taps = kernel[0] * kernel[1]
    fetch = products * 4 * _WEIGHT_CYCLES
    direct = taps * max(images * height * width * work / _DIRECT, fetch)
    best: tuple[float, tuple[int, int] | None] = (direct / _PREFERENCE, None)
    for mh, mw in _tiles(kernel, strides):
        points, sums, matrices = _counts((mh, mw), kernel, strides)
        tiles = images * math.ceil(height / mh) * math.ceil(width / mw)
        vectors = groups * (channels * slices * points + out_channels * sums) / LANES
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
    """Points of a tile over all polyphase components, sums of products, matrices of weights."""
    sides = [
        cook_toom.components(m, r, stride)
        for m, r, stride in zip(tile, kernel, strides, strict=True)
    ]
    points = math.prod(sum(len(component.b) for component in side) for side in sides)
    sums = math.prod(len(side[0].b) for side in sides)
    return points, sums, math.prod(sum(len(component.g) for component in side) for side in sides)


def legal_forms(emit: Emission, window: Window) -> list[tuple[int, int]]:
    """Pixels of a tile in every form a convolution may take; none where it has to be direct."""
    if emit.options["precision"] == "strict" or window.dilations != (1, 1):
        return []
    return _tiles(window.kernel, window.strides)


def form_of(emit: Emission, conv: Convolution) -> tuple[int, int] | None:
    """Choose the form of a convolution by cost; None for the direct one."""
    if not legal_forms(emit, conv.window):
        return None
    images, sizes = conv.y.shape[0] * slices_of(conv.y.shape), height_width(conv.y.shape)
    height, width = (size if isinstance(size, int) else _SIZE for size in sizes)
    known = (images if isinstance(images, int) else 1, height, width)
    out_channels, channels = conv.filters.shape[0] // conv.groups, conv.filters.shape[1]
    kernel, strides = conv.window.kernel, conv.window.strides
    slices = conv.window.depth.taps
    return choose(kernel, known, channels, out_channels, conv.groups, strides, slices)


def emit_winograd(emit: Emission, conv: Convolution, tile: tuple[int, int]) -> None:
    """Emit a convolution by tiles of so many rows and columns of pixels.

    A pooling that is all that takes the result is done in the same step.
    """
    kernel, strides = conv.window.kernel, conv.window.strides
    pool = absorb_pool(emit, conv, tile)
    blocks = _blocks(conv, tile)
    packed = np.concatenate([
        packing.pack_points(
            cook_toom.transform_weights(conv.filters[:, :, tap], tile, strides),
            conv.groups,
            blocks["nv"],
        )
        for tap in range(conv.window.depth.taps)
    ])  # fmt: skip
    channels, out_channels = conv.filters.shape[1] * conv.groups, conv.filters.shape[0]
    space = workspace_bytes(blocks["block"], tile, kernel, strides, channels, out_channels)
    pixels = 1 if pool is None else pool.pixels
    y, output = (conv.y, conv.output) if pool is None else (pool.y, pool.y)
    emit.step(
        winograd,
        outputs=[output],
        nodes=() if pool is None else [*conv.group.nodes, pool.node],
        flops=conv.flops,
        x=conv.x, y=y, residual=conv.residual, bias=conv.bias,
        w=emit.constant(packed, f"{conv.name}.weights"),
        channels=conv.channels, out_channels=conv.out_channels, groups=conv.groups,
        pad_top=conv.window.rows.before, pad_left=conv.window.columns.before, pool=pixels,
        inward=winograd_input(*tile, *kernel, *strides),
        outward=winograd_output(*tile, *kernel, *strides, pixels),
        workspace=emit.workspace(space), workspace_bytes=space,
        **pair_fields("tile", tile), **pair_fields("kernel", kernel),
        **pair_fields("stride", strides), **size_fields(conv.x, conv.y),
        **stride_fields("x", conv.x), **stride_fields("y", y),
        **stride_fields("r", conv.residual),
        **depth_fields(conv.window, conv.x, y, conv.residual), **blocks, **conv.epilogue.fields(),
    )  # fmt: skip


def _blocks(conv: Convolution, tile: tuple[int, int]) -> dict[str, Any]:
    """Fields of the products: the tiles of pixels of a block, and the tiles of the products."""
    out_channels, channels = conv.filters.shape[:2]
    points, sums, _ = _counts(tile, conv.window.kernel, conv.window.strides)
    floats = points * channels * conv.groups + sums * out_channels
    block = max(_LEAST_TILES, _BLOCK_BYTES // (floats * 4))
    down, across = (
        ceil_divide(size, side) for size, side in zip(height_width(conv.y.shape), tile, strict=True)
    )
    tiles = conv.x.shape[0] * slices_of(conv.y.shape) * down * across
    if isinstance(tiles, int):
        block = min(block, tiles)
    mr, nv = packing.choose_tile(block, out_channels // conv.groups, channels)
    rows = set(range(1, mr + 1))
    return {"block": block, **tile_fields(mr, nv, out_channels // conv.groups, rows)}
