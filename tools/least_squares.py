"""Least squares without negative coefficients."""

from __future__ import annotations

import numpy as np

_TOLERANCE = 1e-10


def nonnegative_least_squares(terms: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return the coefficients x >= 0 for which ``|terms @ x - values|`` is least.

    Parameters
    ----------
    terms : ndarray
        (M, N), a row for each value.
    values : ndarray
        (M,)

    Returns
    -------
    ndarray
        (N,), of which many are 0.

    Notes
    -----
    The active-set method of Lawson and Hanson, "Solving least squares problems" (1974), chapter 23.
    """
    x = np.zeros(terms.shape[1])
    is_free = np.zeros(len(x), bool)
    for _ in range(3 * len(x)):
        gradient = terms.T @ (values - terms @ x)
        gradient[is_free] = -np.inf
        best = int(gradient.argmax())
        if gradient[best] <= _TOLERANCE * np.abs(terms[:, best]).sum():
            break
        is_free[best] = True
        while True:
            target = np.zeros(len(x))
            target[is_free] = np.linalg.lstsq(terms[:, is_free], values, rcond=None)[0]
            falling = is_free & (target <= 0)
            if not falling.any():
                x = target
                break
            # Go towards the unbounded solution as far as no coefficient falls below zero.
            x += (x[falling] / (x[falling] - target[falling])).min() * (target - x)
            is_free &= x > _TOLERANCE
            x[~is_free] = 0.0
    return x
