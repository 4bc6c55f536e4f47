"""Moments of the rows that layers multiply: their mean, and sums of their products."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidArgument
from .layers import Layer

_ROWS = 1024
"""Rows of a layer that are taken of a run."""


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


def moments(layer: Layer, arrays: Iterable[np.ndarray], *, products: bool) -> Moments:
    """Return the moments of what a layer multiplies.

    Parameters
    ----------
    layer : Layer
    arrays : iterable of ndarray
        Its activation in each run.
    products : bool
        Whether sums of products are wanted.

    Raises
    ------
    InvalidArgument
        The activation is not finite: names it.
    """
    rng = np.random.default_rng(0)
    size = layer.summed if products else 0
    found = Moments(
        0,
        np.zeros((layer.groups, layer.summed)),
        np.zeros((layer.groups, size, size), np.float32),
    )
    for array in arrays:
        rows = layer.rows(np.asarray(array), _ROWS, rng)
        if not np.isfinite(rows).all():
            name = layer.source.name
            raise InvalidArgument(f"tensor {name!r} is NaN or infinite on calibration data")
        found.add(rows)
    return found
