"""Rounding of weights to a grid so that a layer's outputs, not its weights, change least.

The squared error of outputs over the rows that a layer multiplies is ``d H d'`` for each output
channel, where ``d`` are the errors of its weights and ``H`` are the sums of products of rows
(`moments`). Both methods minimize it, and an output keeps the nearest numbers where these are
better.
"""

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
    """

    scales: np.ndarray
    zeros: np.ndarray
    low: int
    high: int

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
        return Grid(scales, zeros, self.low, self.high)

    def columns(self, order: np.ndarray, shape: tuple[int, ...]) -> Grid:
        """Grid of weights of a shape, whose columns are in another order."""
        scales, zeros = (np.broadcast_to(e, shape)[:, order] for e in (self.scales, self.zeros))
        return Grid(scales, zeros, self.low, self.high)


def rounded(weights: np.ndarray, grid: Grid, products: np.ndarray, method: str) -> np.ndarray:
    """Round the weights of a layer.

    Parameters
    ----------
    weights : ndarray of float32, shape (outputs, summed)
    grid : Grid
    products : ndarray of float32, shape (summed, summed)
    method : {"gptq", "adaround"}

    Returns
    -------
    ndarray of float32, shape (outputs, summed)
        Whole numbers.
    """
    nearest = grid.nearest(weights)
    if not products.any():
        return nearest
    found = _METHODS[method](weights, grid, products)
    better = output_errors(weights, grid.numbers(found), products) < output_errors(
        weights, grid.numbers(nearest), products
    )
    return np.where(better[:, np.newaxis], found, nearest)


def output_errors(weights: np.ndarray, others: np.ndarray, products: np.ndarray) -> np.ndarray:
    """Squared error of each output, over all rows, of computing with other weights."""
    errors = others - weights
    found: np.ndarray = np.einsum("ij,ij->i", errors @ products, errors)
    return found


_DAMPING = 0.01
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
    hessian[np.diag_indices_from(hessian)] += _DAMPING * diagonal.mean()
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
