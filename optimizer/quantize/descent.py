"""Coordinate descent: integers and scales of a layer's weights, each in turn the best of its kind.

The squared error of outputs is a quadratic form of the errors of weights (`rounding`). With all
others fixed, the best integer of a weight, and the best scale of a block, have closed forms; no
step makes the error larger.
"""

from __future__ import annotations

import numpy as np

from .grid import Grid

_COLUMNS = 32
_LARGEST_CHANGE = 0.5
"""Of a scale in one step, as a part of it."""


def descended(
    weights: np.ndarray, integers: np.ndarray, grid: Grid, products: np.ndarray, sweeps: int
) -> tuple[np.ndarray, Grid]:
    """Improve integers, and scales of blocks where a grid has them.

    Parameters
    ----------
    weights, integers : ndarray of float32, shape (outputs, summed)
    grid : Grid
    products : ndarray of float32, shape (summed, summed)
        Positive definite.
    sweeps : int
        Over all columns.

    Returns
    -------
    integers : ndarray of float32, shape (outputs, summed)
    grid : Grid

    Notes
    -----
    K. Behdin et al., "QuantEase: Optimization-based Quantization for Language Models", 2023 (arXiv
    2309.01885), has the steps of integers.
    """
    exact, whole = (np.ascontiguousarray(each.T) for each in (weights, integers))
    scales, zeros = (
        np.ascontiguousarray(np.broadcast_to(each, weights.shape).T)
        for each in (grid.scales, grid.zeros)
    )
    for _ in range(sweeps):
        pull = products @ (exact - (whole - zeros) * scales)
        for start in range(0, len(exact), grid.block or _COLUMNS):
            stop = min(start + (grid.block or _COLUMNS), len(exact))
            if grid.block:
                part = slice(start, stop)
                steps = whole[part] - zeros[part]
                change = _best_scales(steps, scales[start], pull[part], products[part, part])
                scales[part] += change
                pull -= products[:, part] @ (steps * change)
            for first in range(start, stop, _COLUMNS):
                part = slice(first, min(first + _COLUMNS, stop))
                before = whole[part].copy()
                _improve(whole[part], scales[part], zeros[part], pull[part].copy(),
                         products[part, part], grid)  # fmt: skip
                pull -= products[:, part] @ ((whole[part] - before) * scales[part])
    return whole.T.copy(), Grid(scales.T.copy(), zeros.T.copy(), grid.low, grid.high, grid.block)


def _best_scales(
    steps: np.ndarray, scales: np.ndarray, pull: np.ndarray, products: np.ndarray
) -> np.ndarray:
    """Changes of the scales of a block, shape (outputs,), that make the error least."""
    curvatures = (steps * (products @ steps)).sum(0)
    slopes = (steps * pull).sum(0)
    change = np.where(curvatures > 0, slopes / np.where(curvatures > 0, curvatures, 1), 0)
    most = _LARGEST_CHANGE * scales
    found: np.ndarray = np.clip(change, -most, most)
    return found


def _improve(
    whole: np.ndarray,
    scales: np.ndarray,
    zeros: np.ndarray,
    pull: np.ndarray,
    products: np.ndarray,
    grid: Grid,
) -> None:
    """Take the best integer of a column after the other, in place; ``pull`` is used up."""
    for i in range(len(whole)):
        column = Grid(scales[i], zeros[i], grid.low, grid.high)
        now = column.numbers(whole[i])
        best = column.nearest(now + pull[i] / products[i, i])
        change = (best - whole[i]) * scales[i]
        whole[i] = best
        pull[i + 1 :] -= products[i + 1 :, i, np.newaxis] * change
