"""Grids: numbers that integers stand for, and the integers nearest to numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Grid:
    """Numbers ``(integer - zero) * scale`` for integers from ``low`` to ``high``.

    Attributes
    ----------
    scales, zeros : ndarray of float32
        Broadcast against weights (outputs, summed).
    low, high : int
    block : int
        Weights of a row, side by side, whose scale may change together; 0 where scales may not.
    """

    scales: np.ndarray
    zeros: np.ndarray
    low: int
    high: int
    block: int = 0

    def nearest(self, weights: np.ndarray) -> np.ndarray:
        """Nearest integers, as float32."""
        steps = np.rint(weights / self.scales) + self.zeros
        found: np.ndarray = np.clip(steps, self.low, self.high)
        return found

    def numbers(self, integers: np.ndarray) -> np.ndarray:
        """Numbers that integers stand for."""
        found: np.ndarray = (integers - self.zeros) * self.scales
        return found

    def of(self, group: int, shape: tuple[int, ...]) -> Grid:
        """Grid of one of several matrices, together of a shape."""
        scales, zeros = (np.broadcast_to(e, shape)[group] for e in (self.scales, self.zeros))
        return Grid(scales, zeros, self.low, self.high, self.block)

    def columns(self, order: np.ndarray, shape: tuple[int, ...]) -> Grid:
        """Grid of weights of a shape, whose columns are in another order."""
        scales, zeros = (np.broadcast_to(e, shape)[:, order] for e in (self.scales, self.zeros))
        return Grid(scales, zeros, self.low, self.high)
