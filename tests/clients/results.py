"""Results of two engines: equal texts and whole numbers, floats within a tolerance."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def differences(own: Any, expected: Any, tolerance: float, path: str = "") -> Iterator[str]:
    """Say where two results differ.

    Parameters
    ----------
    own, expected
        Dicts and lists of texts, numbers and arrays.
    tolerance : float
        Of floats, relative to the largest expected one of their array, or 1 if that is less.
    path : str
        Where in the result they lie.
    """
    if isinstance(expected, dict):
        if own.keys() != expected.keys():
            yield f"{path}: {sorted(own)} for {sorted(expected)}"
            return
        for key, value in expected.items():
            yield from differences(own[key], value, tolerance, f"{path}[{key!r}]")
    elif isinstance(expected, list | tuple):
        if len(own) != len(expected):
            yield f"{path}: {len(own)} for {len(expected)}: {own!r:.200} for {expected!r:.200}"
            return
        for index, value in enumerate(expected):
            yield from differences(own[index], value, tolerance, f"{path}[{index}]")
    elif isinstance(expected, np.ndarray | np.floating | float):
        yield from _numbers(np.asarray(own), np.asarray(expected), tolerance, path)
    elif own != expected:
        yield f"{path}: {own!r:.200} for {expected!r:.200}"


def _numbers(own: np.ndarray, expected: np.ndarray, tolerance: float, path: str) -> Iterator[str]:
    if own.shape != expected.shape or own.dtype != expected.dtype:
        yield f"{path}: {own.dtype}{own.shape} for {expected.dtype}{expected.shape}"
    elif expected.size:
        wide, other = expected.astype(np.float64), own.astype(np.float64)
        known = np.isfinite(wide)
        if not np.array_equal(other[~known], wide[~known], equal_nan=True):
            yield f"{path}: other numbers that are not finite"
        scale = max(1.0, float(np.abs(wide[known]).max(initial=0)))
        error = float(np.abs(other[known] - wide[known]).max(initial=0)) / scale
        if not error <= tolerance:
            yield f"{path}: differs by {error:.2e} of {scale:.3g}, {tolerance:.0e} allowed"
