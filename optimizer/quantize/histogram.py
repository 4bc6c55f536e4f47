"""Histogram of a tensor over many runs, in memory that does not grow with them.

Bins are of equal width and lie between two powers of two, so that a larger number doubles their
width by adding neighbours, and histograms of several tensors can be added exactly.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

BINS = 1 << 14
_LEAST = 2.0**-100
"""A magnitude below which a number is counted as zero."""
_BLOCK = 1 << 15
"""Elements at a time: what is made of them stays in the second cache."""


@dataclass
class Histogram:
    """Counts of numbers in ``[-2 ** exponent, 2 ** exponent)``.

    Attributes
    ----------
    counts : ndarray of int64, shape (BINS,)
    exponent : int, optional
        None as long as nothing but zeros was counted.
    least, largest : float
        Of all numbers.
    means : (float, float)
        Averages of the least and of the largest number of each array.
    arrays : int
        That were counted.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros(BINS, np.int64))
    exponent: int | None = None
    least: float = np.inf
    largest: float = -np.inf
    means: tuple[float, float] = (0.0, 0.0)
    arrays: int = 0

    def add(self, array: np.ndarray) -> bool:
        """Count the elements of a float32 array; False, and nothing counted, if one is not finite.

        Parameters
        ----------
        array : ndarray of float32
        """
        flat = array.reshape(-1)
        if not flat.size:
            return True
        least, largest = float(flat.min()), float(flat.max())
        if not (np.isfinite(least) and np.isfinite(largest)):
            return False
        self._note(least, largest)
        if max(-least, largest) < _LEAST:
            self.counts[BINS // 2] += flat.size
            return True
        self._widen(int(np.frexp(max(-least, largest))[1]))
        assert self.exponent is not None
        factor = np.float32(2.0 ** (np.log2(BINS // 2) - self.exponent))
        for start in range(0, flat.size, _BLOCK):
            places = flat[start : start + _BLOCK] * factor
            places += np.float32(BINS // 2)
            found = np.bincount(places.astype(np.intp), minlength=BINS)
            found[BINS - 1] += found[BINS:].sum()  # rounded up to the end
            self.counts += found[:BINS]
        return True

    def _note(self, least: float, largest: float) -> None:
        self.least, self.largest = min(self.least, least), max(self.largest, largest)
        self.arrays += 1
        low, high = self.means
        self.means = (low + (least - low) / self.arrays, high + (largest - high) / self.arrays)

    def _widen(self, exponent: int) -> None:
        """Let the bins reach ``2 ** exponent`` if they do not."""
        if self.exponent is None:
            self.exponent = exponent
        steps = min(exponent - self.exponent, int(np.log2(BINS)))
        for _ in range(steps):
            inner = self.counts.reshape(-1, 2).sum(1)
            self.counts = np.zeros(BINS, np.int64)
            self.counts[BINS // 4 : 3 * BINS // 4] = inner
        self.exponent = max(self.exponent, exponent)

    @property
    def width(self) -> float:
        """Of a bin."""
        return 0.0 if self.exponent is None else 2.0 ** (self.exponent + 1) / BINS

    def occupied(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the middles of the bins that hold something, within all numbers, and counts."""
        (places,) = np.nonzero(self.counts)
        middles = (places + 0.5 - BINS // 2) * self.width
        return np.clip(middles, self.least, self.largest), self.counts[places]

    def share_outside(self, low: float, high: float) -> float:
        """Share of the numbers that lie outside a range, by more than a bin."""
        middles, counts = self.occupied()
        outside = (middles < low - self.width) | (middles > high + self.width)
        return float(counts[outside].sum() / max(counts.sum(), 1))

    def noise_outside(self, low: float, high: float) -> float:
        """Mean square of what a range cuts off, as a part of the mean square of all numbers."""
        middles, counts = self.occupied()
        power = float(counts @ np.square(middles))
        cut = float(counts @ np.square(middles - np.clip(middles, low, high)))
        return cut / power if power else 0.0

    def core(self, percentile: float) -> tuple[float, float]:
        """Return where the numbers lie, without as many on each side as make up the rest of 100."""
        middles, counts = self.occupied()
        below = np.cumsum(counts)
        out = (1 - percentile / 100) / 2 * below[-1]
        low = middles[np.searchsorted(below, out, "right")]
        high = middles[np.searchsorted(below, below[-1] - out, "left")]
        return float(low), float(high)


def added(histograms: list[Histogram]) -> Histogram:
    """Histogram of the numbers of several; averages are those of the widest."""
    total = Histogram()
    total.exponent = max((h.exponent for h in histograms if h.exponent is not None), default=None)
    for each in histograms:
        if total.exponent is not None and each.exponent is None:
            each.exponent = total.exponent  # zeros are in the same bin at any width
        if total.exponent is not None:
            each._widen(total.exponent)
        total.counts = total.counts + each.counts
        total.least, total.largest = min(total.least, each.least), max(total.largest, each.largest)
        low, high = total.means
        total.means = (min(low, each.means[0]), max(high, each.means[1]))
        total.arrays += each.arrays
    return total
