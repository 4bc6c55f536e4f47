"""Costs of Winograd's forms of convolutions beside the direct one (``kernels.costs``)."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from ...kernels.costs import WinogradCosts
from ...kernels.cpu import cook_toom, packing
from ...kernels.cpu.winograd_bytes import TAPS
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES
from ...kernels.unit_rates import pair_speed, vector_integer_speed
from ..symbolic import Dim, maximum, minimum

# Outputs along an axis for a filter of so many taps and a stride: forms of 3 to 6 points.
_OUTPUTS = {(1, 1): (1,), (3, 1): (2, 4), (5, 1): (2,), (3, 2): (2, 4)}


# Words of points that a word of the image has, by kind.
_SPREAD = {"f32": 1, "u8": 2}
# More points mean larger errors and weights; they have to be worth it.
_PREFERENCE = 1.05
# Tiles from which products of points take as long as those of any number.
_MANY_TILES = 256
# Units that the direct form's cost of a pixel is counted in, when a run compares costs.
_UNITS = 1 << 10


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
    layer = Layer(kernel, strides, channels, out_channels, groups, slices, kind)
    best: tuple[float, tuple[int, int] | None] = (
        layer.direct(size[2], size[0] * size[1]).at(math.prod(size)) / speed / _PREFERENCE,
        None,
    )
    for tile in tiles_of(kernel, strides, kind):
        cost = layer.by_tiles(tile, count_tiles(size, tile)).at(count_tiles(size, tile))
        if cost < best[0] / (_PREFERENCE if best[1] else 1):
            best = cost, tile
    return best[1]


def gain(
    kernel: tuple[int, int], size: tuple[int, int, int], channels: int, out_channels: int,
    groups: int, strides: tuple[int, int], kind: str = "f32",
) -> float:  # fmt: skip
    """Return how many times as fast as the direct convolution the cheapest form is."""
    tile = choose(kernel, size, channels, out_channels, groups, strides, kind=kind)
    if tile is None:
        return 1.0
    layer = Layer(kernel, strides, channels, out_channels, groups, 1, kind)
    tiles = count_tiles(size, tile)
    return layer.direct(size[2], size[0] * size[1]).at(math.prod(size)) / layer.by_tiles(
        tile, tiles
    ).at(tiles)


def count_tiles(size: tuple[int, int, int], tile: tuple[int, int]) -> int:
    """Count the tiles of images: so many, of so many rows and columns of pixels."""
    images, *sides = size
    return images * math.prod(math.ceil(n / m) for n, m in zip(sides, tile, strict=True))


class Cost(NamedTuple):
    """Cost of a form for a number of pixels, or of tiles: ``beside`` and products for each.

    Products take as long at least as their weights take to come from memory; ``once`` is for all.
    """

    each: float
    least: float
    beside: float = 0.0
    once: float = 0.0

    def at(self, count: int) -> float:
        """Cost of so many."""
        return self.once + count * self.beside + max(count * self.each, self.least)

    def of(self, count: Dim, unit: float) -> Dim:
        """Cost, in whole units, of a number that a run tells."""
        each, least, beside, once = (max(round(number / unit), 0) for number in self)
        return count * beside + maximum(count * each, least) + once


class Layer(NamedTuple):
    """What the cost of a convolution depends on besides its sizes; see `choose`."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    channels: int
    out_channels: int
    groups: int = 1
    slices: int = 1
    kind: str = "f32"

    @property
    def _model(self) -> WinogradCosts:
        """Coefficients of its kind; those of bytes by the measured rates of its units."""
        if self.kind == "f32":
            return machine_costs().floats
        model = machine_costs().byte_words
        direct = model.direct * 4 / vector_integer_speed()
        return model._replace(direct=direct, products=model.products * 2 / pair_speed())

    def fetched(self, matrices: int, rows: int | None) -> tuple[float, float]:
        """Cost of so many matrices of weights from memory: beside products, and with them at least.

        While tiles of ``rows`` (None: many) use a panel, the next one is under way. A single tile
        waits for its own.
        """
        streams, each = machine_costs().streams, self.channels * self.out_channels
        count = 4 * matrices * each * self.groups * self.slices
        if rows is None:
            return 0.0, count * streams.memory
        most, _ = packing.choose_tile(rows, self.out_channels, self.channels)
        return (count * streams.weights, 0.0) if rows <= most else (0.0, count * streams.memory)

    def pixel_terms(self, width: int | None = None, rows: int = 1) -> float:
        """What products of a pixel cost, in ``rows`` of so many; None: not known, and many."""
        depth = math.prod(self.kernel) * self.channels * self.slices
        stride = 4 * self.channels * self.groups * self.strides[1]
        return self.groups * packing.pixel_cost(width, self.out_channels, depth, stride, rows)

    def tile_terms(
        self, tile: tuple[int, int], tiles: int | None = None
    ) -> tuple[float, float, float]:
        """What the products of a tile of many cost, and multiply-adds of both its transforms."""
        points, sums = counts(tile, self.kernel, self.strides)
        inward, outward = _operations(tile, self.kernel, self.strides)
        spread = _SPREAD[self.kind]
        rows = tiles if tiles is not None and tiles < _MANY_TILES else None
        # A sum is over channels, slices and the polyphase components of a strided filter.
        depth = max(spread * self.channels * self.slices * points // sums, 1)
        each = packing.pixel_cost(rows, self.out_channels, depth, 4 * self.channels)
        before = math.ceil(self.channels * self.groups / LANES) * self.slices
        after = math.ceil(self.out_channels * self.groups / LANES)
        return sums * self.groups * each, spread * before * inward, after * outward

    def direct(self, width: int | None = None, rows: int = 1) -> Cost:
        """Cost of the direct form, by pixels of ``rows`` of so many."""
        each = self.pixel_terms(width, rows) * self._model.direct
        pixels = None if width is None else width * rows
        once, least = self.fetched(math.prod(self.kernel), pixels)
        return Cost(each, least, once=once)

    def by_tiles(self, tile: tuple[int, int], tiles: int | None = None) -> Cost:
        """Cost of Winograd's form of a tile, by tiles, of which there are so many."""
        products, inward, outward = self.tile_terms(tile, tiles)
        points, _ = counts(tile, self.kernel, self.strides)
        model, matrices = self._model, count_matrices(tile, self.kernel, self.strides)
        once, least = self.fetched(_SPREAD[self.kind] * matrices, tiles)
        return Cost(
            products * model.products,
            least,
            inward * model.inward + outward * model.outward + model.tile,
            points * self.groups * model.point + once,
        )

    def prefer(self, tile: tuple[int, int], tiles: Dim, pixels: Dim) -> Dim:
        """Return 1 where a form costs less than the direct one at the sizes of a run, else 0."""
        direct = self.direct()
        unit = direct.each / _UNITS
        own = self.by_tiles(tile).of(tiles, unit / _PREFERENCE)
        return minimum(maximum(direct.of(pixels, unit) - own, 0), 1)


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
) -> tuple[int, int]:
    """Points of a tile over all polyphase components, and sums of products."""
    sides = [
        cook_toom.components(m, r, stride)
        for m, r, stride in zip(tile, kernel, strides, strict=True)
    ]
    points = math.prod(sum(len(component.b) for component in side) for side in sides)
    return points, math.prod(len(side[0].b) for side in sides)


def count_matrices(tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]) -> int:
    """Count the matrices of weights that all points have, of which those of a tap share one."""
    sides = [
        cook_toom.components(m, r, stride)
        for m, r, stride in zip(tile, kernel, strides, strict=True)
    ]
    return math.prod(sum(len(component.g) for component in side) for side in sides)


@functools.cache
def _operations(
    tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
) -> tuple[int, int]:
    """Return the multiply-adds of the transforms of a tile: elements of matrices that are not 0."""
    down, across = (
        cook_toom.components(m, r, stride)
        for m, r, stride in zip(tile, kernel, strides, strict=True)
    )
    inward = sum(
        _nonzero(rows.b) * len(columns.b[0]) + len(rows.b) * _nonzero(columns.b)
        for rows, columns in itertools.product(down, across)
    )
    a_rows, a_columns = (
        cook_toom.matrices(m, cook_toom.longest(r, stride))[0]
        for m, r, stride in zip(tile, kernel, strides, strict=True)
    )
    return inward, _nonzero(a_rows) * len(a_columns[0]) + len(a_rows) * _nonzero(a_columns)


def _nonzero(matrix: cook_toom.Matrix) -> int:
    return sum(number != 0 for row in matrix for number in row)
