"""Winograd's form of a convolution: where it is legal, where it pays, and its step."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...kernels.cpu import cook_toom, packing
from ...kernels.cpu.winograd import winograd, workspace_bytes
from ...kernels.cpu.winograd_tiles import winograd_input, winograd_output
from ...kernels.target import L2_BYTES, LANES
from ..emission import Emission
from ..symbolic import Dim, ceil_divide, maximum, minimum, product
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
# Units that the direct form's cycles for a pixel are counted in, when a run compares costs.
_UNITS = 1 << 10


@functools.cache
def choose(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int] = (1, 1), slices: int = 1, speed: float = 1.0,
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
    speed : float
        Of the products of the direct convolution, by that of float32.
    """
    images, height, width = size
    costs = _Costs(kernel, strides, channels, out_channels, groups, slices)
    best: tuple[float, tuple[int, int] | None] = (
        costs.direct.at(images * height * width) / speed / _PREFERENCE,
        None,
    )
    for mh, mw in _tiles(kernel, strides):
        tiles = images * math.ceil(height / mh) * math.ceil(width / mw)
        cycles = costs.by_tiles((mh, mw)).at(tiles)
        if cycles < best[0] / (_PREFERENCE if best[1] else 1):
            best = cycles, (mh, mw)
    return best[1]


def gain(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int],
) -> float:  # fmt: skip
    """Return how many times as fast as the direct convolution the cheapest form is."""
    images, height, width = size
    tile = choose(kernel, size, channels, out_channels, groups, strides)
    if tile is None:
        return 1.0
    costs = _Costs(kernel, strides, channels, out_channels, groups, 1)
    tiles = images * math.ceil(height / tile[0]) * math.ceil(width / tile[1])
    return costs.direct.at(images * height * width) / costs.by_tiles(tile).at(tiles)


class _Cost(NamedTuple):
    """Cycles of a form for a number of pixels, or of tiles: ``beside`` and products for each.

    Products take as long at least as their weights take to come from memory.
    """

    each: float
    least: float
    beside: float = 0.0

    def at(self, count: int) -> float:
        """Cycles for so many."""
        return count * self.beside + max(count * self.each, self.least)

    def of(self, count: Dim, unit: float) -> Dim:
        """Whole units of cycles for a number that a run tells."""
        each, least, beside = (max(round(number / unit), 0) for number in self)
        return count * beside + maximum(count * each, least)


class _Costs(NamedTuple):
    """What the cycles of a convolution depend on besides its sizes; see ``choose``."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    channels: int
    out_channels: int
    groups: int
    slices: int

    @property
    def _products(self) -> int:
        return self.channels * self.out_channels * self.groups * self.slices

    @property
    def _fetch(self) -> float:
        return self._products * 4 * _WEIGHT_CYCLES

    @property
    def direct(self) -> _Cost:
        """Cost of the direct form, by pixels."""
        taps = self.kernel[0] * self.kernel[1]
        return _Cost(taps * (self._products / LANES) / _DIRECT, taps * self._fetch)

    def by_tiles(self, tile: tuple[int, int]) -> _Cost:
        """Cost of Winograd's form of a tile, by tiles."""
        points, sums, matrices = _counts(tile, self.kernel, self.strides)
        vectors: float = self.channels * self.slices * points + self.out_channels * sums
        vectors += self.out_channels * (points - sums) * _SUM
        return _Cost(
            points * (self._products / LANES) / _PRODUCTS,
            matrices * self._fetch,
            self.groups * vectors / LANES * _TRANSFORM_CYCLES,
        )


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


def form_of(emit: Emission, conv: Convolution, speed: float = 1.0) -> tuple[int, int] | None:
    """Choose the form of a convolution by cost; None for the direct one, of a ``speed``."""
    if not legal_forms(emit, conv.window):
        return None
    kernel, strides, channels, out_channels, groups, slices = _costs(conv)
    return choose(
        kernel, _known_sizes(conv), channels, out_channels, groups, strides, slices, speed
    )


def gain_of(emit: Emission, conv: Convolution) -> float:
    """Return how many times as fast as the direct convolution the cheapest form is."""
    if not legal_forms(emit, conv.window):
        return 1.0
    kernel, strides, channels, out_channels, groups, _ = _costs(conv)
    return gain(kernel, _known_sizes(conv), channels, out_channels, groups, strides)


def _known_sizes(conv: Convolution) -> tuple[int, int, int]:
    """Sizes of an output, of which a run may tell some."""
    images, *sizes = _sizes(conv)
    height, width = (size if isinstance(size, int) else _SIZE for size in sizes)
    return images if isinstance(images, int) else 1, height, width


def pays(conv: Convolution, tile: tuple[int, int]) -> Dim:
    """Return 1 where a form costs less than the direct one at the sizes of a run, else 0."""
    costs, (images, *sizes) = _costs(conv), _sizes(conv)
    tiles = images * product(ceil_divide(size, m) for size, m in zip(sizes, tile, strict=True))
    unit = costs.direct.each / _UNITS
    own = costs.by_tiles(tile).of(tiles, unit / _PREFERENCE)
    return minimum(maximum(costs.direct.of(images * product(sizes), unit) - own, 0), 1)


def _sizes(conv: Convolution) -> tuple[Dim, Dim, Dim]:
    """Return the images (or slices of volumes), rows and columns of an output."""
    return conv.y.shape[0] * slices_of(conv.y.shape), *height_width(conv.y.shape)


def _costs(conv: Convolution) -> _Costs:
    out_channels, channels = conv.filters.shape[0] // conv.groups, conv.filters.shape[1]
    kernel, strides, slices = conv.window.kernel, conv.window.strides, conv.window.depth.taps
    return _Costs(kernel, strides, channels, out_channels, conv.groups, slices)


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
