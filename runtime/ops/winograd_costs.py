"""Costs of Winograd's forms of convolutions beside the direct one, in cycles."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

from ...kernels.cpu import cook_toom
from ...kernels.cpu.winograd_bytes import TAPS
from ...kernels.target import LANES
from ...kernels.unit_rates import pair_speed, vector_integer_speed
from ..symbolic import Dim, maximum, minimum

# Outputs along an axis for a filter of so many taps and a stride: forms of 3 to 6 points.
_OUTPUTS = {(1, 1): (1,), (3, 1): (2, 4), (5, 1): (2,), (3, 2): (2, 4)}


class _Units(NamedTuple):
    """What convolutions of a kind take, in vectors of words of 4 bytes.

    Attributes
    ----------
    direct, products
        Multiply-adds a cycle in direct convolutions, and in products of points.
    inward, outward
        Cycles a vector of a point through both transforms.
    spread
        Words of points that a word of the image has.
    """

    direct: float
    products: float
    inward: float
    outward: float
    spread: int = 1


# Measured on cores with AVX2 (AMD Zen 3; bytes Zen 4) and AVX-512 (Zen 4), as are the cycles a byte
# of weights, which come from memory while others are used. Those of bytes are for units as fast as
# four times, and twice, float32.
if LANES == 16:
    _FLOATS, _WEIGHT_CYCLES = _Units(0.97, 0.98, 8.8, 8.8), 0.15
    _BYTES = _Units(0.93, 0.92, 5.0, 9.0, 2)
else:
    _FLOATS, _WEIGHT_CYCLES = _Units(1.9, 1.74, 5.0, 5.0), 0.3
    _BYTES = _Units(1.6, 1.5, 3.4, 7.9, 2)
# Adding a product to the sum over the polyphase components of a strided filter, in vectors of a
# transform.
_SUM = 0.3
# More points mean larger errors and weights; they have to be worth it.
_PREFERENCE = 1.05
# Units that the direct form's cycles for a pixel are counted in, when a run compares costs.
_UNITS = 1 << 10


@functools.cache
def choose(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int] = (1, 1), slices: int = 1, speed: float = 1.0,
    kind: str = "f32",
) -> tuple[int, int] | None:  # fmt: skip
    """Choose the pixels of a tile by cost; None: the direct convolution costs less.

    Parameters
    ----------
    kernel : tuple of int
        Rows and columns of the filter; dilation is 1.
    size : tuple of int
        Images (or slices of volumes), output rows, output columns.
    channels, out_channels : int
        Of one group; channels of bytes are counted in words of four.
    groups : int
    strides : tuple of int
    slices : int
        Of the input, whose convolutions are summed in a slice of the output.
    speed : float
        Of the products of the direct convolution, by that of float32.
    kind : str
        ``"f32"``, or ``"u8"``.
    """
    images, height, width = size
    costs = Costs(kernel, strides, channels, out_channels, groups, slices, kind)
    best: tuple[float, tuple[int, int] | None] = (
        costs.direct.at(images * height * width) / speed / _PREFERENCE,
        None,
    )
    for mh, mw in tiles_of(kernel, strides, kind):
        tiles = images * math.ceil(height / mh) * math.ceil(width / mw)
        cycles = costs.by_tiles((mh, mw)).at(tiles)
        if cycles < best[0] / (_PREFERENCE if best[1] else 1):
            best = cycles, (mh, mw)
    return best[1]


def gain(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int], kind: str = "f32",
) -> float:  # fmt: skip
    """Return how many times as fast as the direct convolution the cheapest form is."""
    images, height, width = size
    tile = choose(kernel, size, channels, out_channels, groups, strides, kind=kind)
    if tile is None:
        return 1.0
    costs = Costs(kernel, strides, channels, out_channels, groups, 1, kind)
    tiles = images * math.ceil(height / tile[0]) * math.ceil(width / tile[1])
    return costs.direct.at(images * height * width) / costs.by_tiles(tile).at(tiles)


class Cost(NamedTuple):
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


class Costs(NamedTuple):
    """What the cycles of a convolution depend on besides its sizes; see ``choose``."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    channels: int
    out_channels: int
    groups: int
    slices: int
    kind: str = "f32"

    @property
    def units(self) -> _Units:
        """What its kind takes."""
        return _units(self.kind)

    @property
    def _products(self) -> int:
        return self.channels * self.out_channels * self.groups * self.slices

    @property
    def _fetch(self) -> float:
        return self._products * 4 * _WEIGHT_CYCLES

    @property
    def direct(self) -> Cost:
        """Cost of the direct form, by pixels."""
        taps = self.kernel[0] * self.kernel[1]
        return Cost(taps * (self._products / LANES) / self.units.direct, taps * self._fetch)

    def by_tiles(self, tile: tuple[int, int]) -> Cost:
        """Cost of Winograd's form of a tile, by tiles."""
        points, sums, matrices = counts(tile, self.kernel, self.strides)
        units = self.units
        inward = units.spread * self.channels * self.slices * points
        outward = self.out_channels * (sums + (points - sums) * _SUM)
        return Cost(
            units.spread * points * (self._products / LANES) / units.products,
            units.spread * matrices * self._fetch,
            self.groups * (inward * units.inward + outward * units.outward) / LANES,
        )

    def prefer(self, tile: tuple[int, int], tiles: Dim, pixels: Dim) -> Dim:
        """Return 1 where a form costs less than the direct one at the sizes of a run, else 0."""
        unit = self.direct.each / _UNITS
        own = self.by_tiles(tile).of(tiles, unit / _PREFERENCE)
        return minimum(maximum(self.direct.of(pixels, unit) - own, 0), 1)


@functools.cache
def _units(kind: str) -> _Units:
    """Return what a kind takes on this machine: of bytes by the measured rates of its units."""
    if kind == "f32":
        return _FLOATS
    direct = _BYTES.direct * vector_integer_speed() / 4
    return _BYTES._replace(direct=direct, products=_BYTES.products * pair_speed() / 2)


def tiles_of(
    kernel: Sequence[int], strides: Sequence[int], kind: str = "f32"
) -> list[tuple[int, int]]:
    """Pixels of a tile in every form there is."""
    if tuple(kernel) == (1, 1):
        return []
    if kind != "f32" and (tuple(kernel), tuple(strides)) != (TAPS, (1, 1)):
        return []
    down, across = (_OUTPUTS.get(side, ()) for side in zip(kernel, strides, strict=True))
    return [(mh, mw) for mh in down for mw in across]


def counts(
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
