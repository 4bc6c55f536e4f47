"""Rounding of weights to a grid so that a layer's outputs, not its weights, change least.

The squared error of outputs over the rows that a layer multiplies is ``d H d'`` for each output
channel, where ``d`` are the errors of its weights and ``H`` are the sums of products of rows
(`moments`). Both methods minimize it, and an output keeps the nearest numbers where these are
better.
"""

from __future__ import annotations

import numpy as np

from .descent import descended
from .grid import Grid

_DAMPING = 0.05
"""Of the mean square of inputs, added to that of each."""
_SWEEPS = 2


def rounded(
    weights: np.ndarray, grid: Grid, products: np.ndarray, method: str
) -> tuple[np.ndarray, Grid]:
    """Round the weights of a layer.

    Parameters
    ----------
    weights : ndarray of float32, shape (outputs, summed)
    grid : Grid
    products : ndarray of float32, shape (summed, summed)
    method : {"gptq", "adaround"}

    Returns
    -------
    integers : ndarray of float32, shape (outputs, summed)
        Whole numbers.
    grid : Grid
        The given one, or that of other scales of blocks.
    """
    nearest = grid.nearest(weights)
    if not products.any():
        return nearest, grid
    damped = products.copy()
    damped[np.diag_indices_from(damped)] += _DAMPING * np.diag(products).mean()
    found, moved = _METHODS[method](weights, grid, damped), grid
    if grid.block:
        found, moved = descended(weights, found, grid, damped, _SWEEPS)
    better = output_errors(weights, moved.numbers(found), products) < output_errors(
        weights, grid.numbers(nearest), products
    )
    chosen = better[:, np.newaxis]
    scales, zeros = (
        np.where(chosen, *pair) for pair in ((moved.scales, grid.scales), (moved.zeros, grid.zeros))
    )
    integers = np.where(chosen, found, nearest)
    return integers, Grid(scales, zeros, grid.low, grid.high, grid.block)


def output_errors(weights: np.ndarray, others: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Squared error of each output, over all rows, of computing with other weights."""
    errors = others - weights
    found: np.ndarray = np.einsum("ij,ij->i", errors @ products, errors)
    return found


_BLOCK = 32


def _gptq(weights: np.ndarray, grid: Grid, products: np.ndarray) -> np.ndarray:
    """Round a column after the other, and let those that follow make up for its error.

    E. Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers", 2022 (arXiv 2210.17323): columns of large inputs first, in blocks, by the
    Cholesky factor of the inverse of the damped products.
    """
    diagonal = np.diag(products)
    order = np.argsort(-diagonal, kind="stable")
    hessian = products[np.ix_(order, order)].astype(np.float64)
    factor = np.linalg.cholesky(np.linalg.inv(hessian)).T.astype(np.float32)
    left = weights[:, order].T.copy()  # a column of weights is a row here
    ordered = grid.columns(order, weights.shape)
    scales, zeros = (np.ascontiguousarray(e.T) for e in (ordered.scales, ordered.zeros))
    integers = np.empty_like(left)
    for start in range(0, len(left), _BLOCK):
        stop = min(start + _BLOCK, len(left))
        errors = np.empty_like(left[start:stop])
        for i in range(start, stop):
            column = Grid(scales[i], zeros[i], grid.low, grid.high)
            integers[i] = column.nearest(left[i])
            errors[i - start] = (left[i] - column.numbers(integers[i])) / factor[i, i]
            left[i + 1 : stop] -= factor[i, i + 1 : stop, np.newaxis] * errors[i - start]
        left[stop:] -= factor[start:stop, stop:].T @ errors
    found = np.empty_like(weights)
    found[:, order] = integers.T
    return found


_STEPS = 500
_RATE = 0.02
_WEIGHT = 2.0
_STRETCH = (-0.1, 1.1)
_COLD = 0.2
_POWERS = (20.0, 2.0)


def _adaround(weights: np.ndarray, grid: Grid, products: np.ndarray) -> np.ndarray:
    """Learn of each weight whether it is rounded up or down.

    M. Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", 2020
    (arXiv 2004.10568): gradient descent (Adam) on a soft rounding, which a regularizer drives to 0
    or 1. Errors are in steps of the grid and products relative to their mean, so that the weight of
    the regularizer means the same in every layer.
    """
    down = np.floor(weights / grid.scales) + grid.zeros
    rest = weights / grid.scales + grid.zeros - down
    low, high = _STRETCH
    soft = -np.log((high - low) / np.clip(rest - low, 0.01, high - low - 0.01) - 1)
    scaled = products / np.diag(products).mean()
    steps = np.broadcast_to(grid.scales, weights.shape)
    sizes = np.square(steps / steps.mean(-1, keepdims=True))
    first, second = np.zeros_like(soft), np.zeros_like(soft)
    for step in range(1, _STEPS + 1):
        sigmoid = 1 / (1 + np.exp(-soft))
        up = np.clip(sigmoid * (high - low) + low, 0, 1)
        errors = np.clip(down + up, grid.low, grid.high) - (rest + down)
        gradient = ((errors * np.sqrt(sizes)) @ scaled) * np.sqrt(sizes)
        progress = (step / _STEPS - _COLD) / (1 - _COLD)
        if progress > 0:
            power = _POWERS[1] + (_POWERS[0] - _POWERS[1]) * (1 - progress)
            distance = 2 * up - 1
            size = np.abs(distance)
            gradient -= _WEIGHT * 2 * power * size ** (power - 1) * np.sign(distance)
        gradient *= sigmoid * (1 - sigmoid) * (high - low)
        first += 0.1 * (gradient - first)
        second += 0.001 * (np.square(gradient) - second)
        mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
        soft -= _RATE * mean / (np.sqrt(square) + 1e-8)
    found: np.ndarray = np.clip(down + (soft > 0), grid.low, grid.high)
    return found


_METHODS = {"gptq": _gptq, "adaround": _adaround}
METHODS = tuple(_METHODS)
"""Methods that need products of rows."""
