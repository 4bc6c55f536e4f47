"""Moments of the rows that layers multiply: their mean, and the mean of their products.

What they take of memory is bounded: layers are looked at in turns, data being read again for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import InvalidArgument
from .calibration import Run
from .layers import Key, Layer

Feeds = Callable[[], Iterable[Mapping[str, Any]]]
"""Begins to read the calibration data."""
_ROWS = 1024
"""Rows of a layer that are taken of a run."""
_MOST = 1 << 28
"""Bytes of products that are kept at a time."""


@dataclass
class Moments:
    """What rows were seen.

    Attributes
    ----------
    count : int
    sums : ndarray of float64, shape (groups, summed)
    products : ndarray of float32, shape (groups, summed, summed)
        Sums of products of each two numbers of a row; 0 sizes where they are not wanted.
    """

    count: int
    sums: np.ndarray
    products: np.ndarray

    def add(self, rows: np.ndarray) -> None:
        """Add rows, shape (groups, n, summed)."""
        self.count += rows.shape[1]
        self.sums += rows.sum(1, dtype=np.float64)
        if self.products.size:
            self.products += np.swapaxes(rows, 1, 2) @ rows

    @property
    def mean(self) -> np.ndarray:
        """Mean row, shape (groups, summed)."""
        return self.sums / max(self.count, 1)


def observed_names(layers: Iterable[Layer]) -> list[str]:
    """Names of the activations of layers that a model has to give."""
    return list(dict.fromkeys(str(e.source.name) for e in layers if not e.source.is_graph_input()))


def moments(
    layers: Sequence[Layer], feeds: Feeds, run: Run, *, products: bool
) -> Iterator[tuple[list[Layer], Moments]]:
    """Yield layers that multiply the same rows, and the moments of these.

    Parameters
    ----------
    layers : sequence of Layer
    feeds : callable
        Is called once for every 256 MB of products.
    run : callable
        Gives the values of `observed_names`.
    products : bool
        Whether sums of products are wanted.

    Raises
    ------
    InvalidArgument
        An activation is not finite: names it.
    """
    together: dict[Key, list[Layer]] = {}
    for layer in layers:
        together.setdefault(layer.key, []).append(layer)
    for part in _parts(list(together.values()), products):
        yield from _collected(part, feeds, run, products)


def _parts(groups: list[list[Layer]], products: bool) -> Iterator[list[list[Layer]]]:
    """Cut layers so that the products of a part fit."""
    part: list[list[Layer]] = []
    total = 0
    for group in groups:
        size = 4 * group[0].groups * group[0].summed ** 2 if products else 0
        if part and total + size > _MOST:
            yield part
            part, total = [], 0
        part.append(group)
        total += size
    if part:
        yield part


def _collected(
    part: list[list[Layer]], feeds: Feeds, run: Run, products: bool
) -> Iterator[tuple[list[Layer], Moments]]:
    rng = np.random.default_rng(0)
    names = observed_names(group[0] for group in part)
    found = []
    for group in part:
        first = group[0]
        size = first.summed if products else 0
        sums = np.zeros((first.groups, first.summed))
        found.append(Moments(0, sums, np.zeros((first.groups, size, size), np.float32)))
    for feed in feeds():
        arrays = {**feed, **dict(zip(names, run(names, feed), strict=True))}
        for group, each in zip(part, found, strict=True):
            name = group[0].key[0]
            rows = group[0].rows(np.asarray(arrays[name]), _ROWS, rng)
            if not np.isfinite(rows).all():
                raise InvalidArgument(f"tensor {name!r} is NaN or infinite on calibration data")
            each.add(rows)
    yield from zip(part, found, strict=True)
