"""Half-quadratic quantization: grids of blocks of weights, found without data.

H. Badri and A. Shaji, "Half-Quadratic Quantization of Large Machine Learning Models", 2023
(mobiusml.github.io/hqq_blog): minimize the sum of ``|w - w'| ** p``, p < 1, over the grid that the
rounded weights ``w'`` lie on. With a split of the error into a sparse part ``e`` and a rest, two
steps take turns: ``e`` by the shrinkage operator of the norm, then the zero point that is best, in
squares, for ``w - e``. Here the scale is fitted, too, as a line through integers and ``w - e``.
Errors are in steps of the grid, so that the penalty means the same for weights of any size. A block
keeps the grid of the least squared error, so none is worse than where it began.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .scales import LEVELS, half_scales

_POWER = 0.7
_PENALTY = 5.0
_GROWTH = 1.01
_ROUNDS = 20
_WEIGHTS = 1 << 16
"""Weights that are looked at together, so that they stay in a cache."""

_Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From integers and the numbers they should stand for (..., block), and scales, to scales and zero
points (..., 1)."""


def whole_zeros(
    blocks: np.ndarray, scales: np.ndarray, zeros: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Improve scales and zero points that are integers of 4 bits.

    Parameters
    ----------
    blocks : ndarray of float32, shape (..., block)
    scales, zeros : ndarray of float32, shape (..., 1)
        Where the search begins.

    Returns
    -------
    scales, zeros : ndarray of float32, shape (..., 1)
    """
    return _searched(blocks, scales, zeros, _fit_whole)


def any_zeros(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find scales and zero points that are any numbers.

    Parameters
    ----------
    blocks : ndarray of float32, shape (..., block)

    Returns
    -------
    scales, zeros : ndarray of float32, shape (..., 1)
    """
    low, high = blocks.min(-1, keepdims=True), blocks.max(-1, keepdims=True)
    scales = half_scales((high - low) / LEVELS)
    return _searched(blocks, scales, -low / scales, _fit_line)


def _searched(
    blocks: np.ndarray, scales: np.ndarray, zeros: np.ndarray, fit: _Fit
) -> tuple[np.ndarray, np.ndarray]:
    """Search some blocks after the other."""
    flat = blocks.reshape(-1, blocks.shape[-1])
    best = [part.reshape(-1, 1).copy() for part in (scales, zeros)]
    count = max(_WEIGHTS // blocks.shape[-1], 1)
    for start in range(0, len(flat), count):
        some = slice(start, start + count)
        best[0][some], best[1][some] = _best(flat[some], best[0][some], best[1][some], fit)
    return best[0].reshape(scales.shape), best[1].reshape(zeros.shape)


def _best(
    blocks: np.ndarray, scales: np.ndarray, zeros: np.ndarray, fit: _Fit
) -> tuple[np.ndarray, np.ndarray]:
    """Take turns between errors and grids; each block keeps its best grid."""
    best, least = (scales, zeros), np.full(scales.shape, np.inf, np.float32)
    unit = scales  # squares of errors in these neither overflow nor vanish
    penalty = _PENALTY
    for _ in range(_ROUNDS):
        integers = np.clip(np.rint(blocks / scales + zeros), 0, LEVELS)
        errors = blocks / scales - (integers - zeros)  # in steps
        squares = np.square(errors * (scales / unit)).sum(-1, keepdims=True)
        best = (
            np.where(squares < least, scales, best[0]),
            np.where(squares < least, zeros, best[1]),
        )
        least = np.minimum(squares, least)
        wanted = blocks - scales * _shrunk(errors, penalty)
        scales, zeros = fit(integers, wanted, scales)
        penalty *= _GROWTH
    return best


def _shrunk(errors: np.ndarray, penalty: float) -> np.ndarray:
    """Shrinkage operator of the norm: small errors become zero, large ones stay."""
    sizes = np.abs(errors)
    with np.errstate(divide="ignore"):
        left = sizes - np.power(sizes, np.float32(_POWER - 1)) / np.float32(penalty)
    found: np.ndarray = np.copysign(np.maximum(left, 0), errors)
    return found


def _fit_line(
    integers: np.ndarray, wanted: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Fit a line: any zero point."""
    middle, mean = integers.mean(-1, keepdims=True), wanted.mean(-1, keepdims=True)
    centred = integers - middle
    scales = _ratio(centred * (wanted - mean), centred * centred, scales)
    return scales, middle - mean / scales


def _fit_whole(
    integers: np.ndarray, wanted: np.ndarray, scales: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Take the nearest whole zero point, then the scale that is best with it."""
    zeros = np.clip(np.rint((integers - wanted / scales).mean(-1, keepdims=True)), 0, LEVELS)
    steps = integers - zeros
    return _ratio(steps * wanted, steps * steps, scales), zeros


def _ratio(upper: np.ndarray, lower: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Slope of a line by sums of products; where it is none, or falls, the scale stays."""
    sums, squares = upper.sum(-1, keepdims=True), lower.sum(-1, keepdims=True)
    rises = (sums > 0) & (squares > 0)
    found: np.ndarray = np.where(
        rises, half_scales(sums / np.where(squares > 0, squares, 1)), scales
    )
    return found
