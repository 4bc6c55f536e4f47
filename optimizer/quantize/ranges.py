"""Range of the numbers that a quantized tensor can hold, chosen from its histogram."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .histogram import Histogram

LEVELS = 255
"""Steps between the least and the largest of 256 numbers."""
_LEAST = 2.0**-99
"""A range below which a tensor is taken to be zero: scales stay normal numbers of float32."""
_SHRINKS = np.linspace(1.0, 0.1, 46)
_FINER = np.linspace(1.0, 0.5, 16)


@dataclass(frozen=True)
class Range:
    """The numbers from ``low`` to ``high``, zero among them, in 256 equal steps.

    Attributes
    ----------
    low, high : float
    method : str
        What chose it.
    noise : float
        Mean squared error of quantizing, as a part of the mean square.
    """

    low: float
    high: float
    method: str = ""
    noise: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether it has no number but zero."""
        return self.high - self.low < _LEAST

    @property
    def scale(self) -> np.float32:
        """Distance of neighbours; 1 where there are none."""
        return np.float32(1.0 if self.is_empty else (self.high - self.low) / LEVELS)

    @property
    def zero(self) -> np.uint8:
        """The integer that stands for zero."""
        return np.uint8(np.clip(np.rint(-self.low / np.float64(self.scale)), 0, LEVELS))


def choose(histogram: Histogram, method: str, percentile: float) -> Range:
    """Choose a range by a method of `METHODS`; by ``"auto"`` that of the least squared error.

    Parameters
    ----------
    histogram : Histogram
    method : str
    percentile : float
        Part of the numbers, of 100, that ``"percentile"`` keeps.
    """
    tried = METHODS if method == "auto" else (method,)
    found = []
    for name in tried:
        low, high = METHODS[name](histogram, percentile)
        low, high = min(low, 0.0), max(high, 0.0)
        found.append(Range(low, high, name, _noise(histogram, low, high)))
    return min(found, key=lambda each: each.noise)


def _noise(histogram: Histogram, low: float, high: float) -> float:
    if high - low < _LEAST:
        return 0.0
    numbers, counts = histogram.occupied()
    power = float(counts @ np.square(numbers))
    error = _error(numbers, counts, np.array([low]), np.array([high]))[0]
    return float(error / power) if power else 0.0


def _error(
    numbers: np.ndarray, counts: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Sum of squared errors of quantizing numbers with each of several ranges."""
    scale = np.maximum((high - low) / LEVELS, _LEAST / LEVELS)[:, None]
    zero = np.rint(-low[:, None] / scale)
    places = np.clip(np.rint(numbers / scale) + zero, 0, LEVELS)
    errors: np.ndarray = np.square((places - zero) * scale - numbers) @ counts
    return errors


def _extremes(histogram: Histogram, percentile: float) -> tuple[float, float]:
    return histogram.least, histogram.largest


def _average(histogram: Histogram, percentile: float) -> tuple[float, float]:
    return histogram.means


def _percentile(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """Leave out as many numbers on each side as are more than a percentile in all."""
    return histogram.core(percentile)


def _squared_error(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """Shrink the range on both sides, then on each, as long as the squared error shrinks."""
    numbers, counts = histogram.occupied()
    ends = np.minimum(histogram.least, 0.0), np.maximum(histogram.largest, 0.0)
    low, high = (ends[0] * _SHRINKS, ends[1] * _SHRINKS)
    best = int(np.argmin(_error(numbers, counts, low, high)))
    chosen = [float(low[best]), float(high[best])]
    for side in (0, 1):
        tried = [np.full(_FINER.size, end) for end in chosen]
        tried[side] = tried[side] * _FINER
        best = int(np.argmin(_error(numbers, counts, *tried)))
        chosen[side] = float(tried[side][best])
    return chosen[0], chosen[1]


_DIVERGENCE_BINS, _DIVERGENCE_LEVELS, _DIVERGENCE_STEP = 2048, 128, 16


def _entropy(histogram: Histogram, percentile: float) -> tuple[float, float]:
    """Cut both sides where the Kullback-Leibler divergence of what is kept is least.

    S. Migacz, "8-bit Inference with TensorRT", GTC 2017: magnitudes in 2048 bins, what is cut
    counted in the last, against the same in 128 levels.
    """
    middle = histogram.counts.size // 2
    sizes = histogram.counts[middle:] + histogram.counts[:middle][::-1]
    bins = sizes.reshape(_DIVERGENCE_BINS, -1).sum(1).astype(np.float64)
    bins[0] = min(bins[0], bins[1])  # zeros, which any range holds, would decide alone
    width = histogram.width * middle / _DIVERGENCE_BINS
    count = int(np.flatnonzero(bins)[-1]) + 1 if bins.any() else 0
    ends = range(count, _DIVERGENCE_LEVELS - 1, -_DIVERGENCE_STEP)
    if not ends:
        return histogram.least, histogram.largest
    end = min(ends, key=lambda end: _divergence(bins, end)) * width
    return max(histogram.least, -end), min(histogram.largest, end)


def _divergence(bins: np.ndarray, end: int) -> float:
    """Of the first ``end`` bins, the others in the last of them, from these bins in levels."""
    wanted = bins[:end].copy()
    starts = np.arange(_DIVERGENCE_LEVELS) * end // _DIVERGENCE_LEVELS
    filled = wanted > 0
    sums, counts = np.add.reduceat(wanted, starts), np.add.reduceat(filled.astype(int), starts)
    lengths = np.diff(np.append(starts, end))
    spread = np.repeat(sums / np.maximum(counts, 1), lengths) * filled
    wanted[-1] += bins[end:].sum()
    total, kept = wanted.sum(), spread.sum()
    if not total or not kept:
        return np.inf
    p, q = wanted / total, np.maximum(spread / kept, 1e-9)
    some = p > 0
    return float((p[some] * np.log(p[some] / q[some])).sum())


METHODS: dict[str, Callable[[Histogram, float], tuple[float, float]]] = {
    "minmax": _extremes,
    "average": _average,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _squared_error,
}
"""Ways to choose a range, by the names that callers give."""
