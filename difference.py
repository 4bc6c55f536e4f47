"""Differences between results: largest errors, and whether they are within a tolerance."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

RTOL, ATOL = 1e-4, 1e-5


@dataclass(frozen=True)
class Difference:
    """Difference of a value from the expected one.

    Attributes
    ----------
    name : str
        Name of the value.
    agrees : bool
        Every element lies within the tolerance; see `difference`.
    max_abs : float
        Largest difference of two elements; infinite where one is NaN or infinite and the other
        is not.
    max_rel : float
        ``max_abs`` divided by the largest finite magnitude of the expected value.
    where : tuple of int
        Index of the largest difference; empty when nothing differs.
    reason : str
        Description of the disagreement; empty when ``agrees``.
    """

    name: str
    agrees: bool
    max_abs: float = 0.0
    max_rel: float = 0.0
    where: tuple[int, ...] = ()
    reason: str = ""


def difference(
    name: str,
    actual: Any,
    expected: Any,
    rtol: float = RTOL,
    atol: float = ATOL,
    scaled: float = 0.0,
) -> Difference:
    """Compare a value with the expected one.

    Parameters
    ----------
    name : str
        Name for the report.
    actual, expected : ndarray, or lists and tuples of them (sequences), or None
        Any dtype. Floating-point numbers may differ within the tolerance; everything else must be
        equal. NaN agrees with NaN.
    rtol, atol, scaled : float
        Tolerance ``atol + rtol * |expected| + scaled * max |expected|``.

    Returns
    -------
    Difference
        For a sequence that of its worst element.
    """
    if isinstance(expected, list | tuple) or expected is None:
        return _objects(name, actual, expected, (rtol, atol, scaled))
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return _disagree(name, f"shape {actual.shape}, expected {expected.shape}")
    if actual.dtype != expected.dtype:
        return _disagree(name, f"dtype {actual.dtype}, expected {expected.dtype}")
    if expected.dtype.kind not in "fciubV":  # V: bfloat16, float8, int4 and such
        wrong = np.argwhere(np.asarray(actual != expected, bool))
        if len(wrong):
            where = tuple(int(i) for i in wrong[0])
            return _disagree(name, f"{actual[where]!r}, expected {expected[where]!r}", where)
        return Difference(name, True)
    if expected.dtype.kind in "iub":
        rtol = atol = scaled = 0.0
    return _numbers(name, actual, expected, (rtol, atol, scaled))


def largest_error(actual: Iterable[Any], expected: Iterable[Any]) -> float | None:
    """Largest difference of floats in several results, relative to the largest value of each.

    Returns
    -------
    float or None
        Infinite where shapes, types, or places of infinities and NaN differ; None where no result
        holds floats.
    """
    errors = [
        difference("", a, e).max_rel
        for a, e in zip(actual, expected, strict=True)
        if isinstance(e, np.ndarray) and e.dtype.kind == "f" and e.size
    ]
    return max(errors, default=None)


def _disagree(name: str, reason: str, where: tuple[int, ...] = ()) -> Difference:
    return Difference(name, False, np.inf, np.inf, where, reason)


def _objects(
    name: str, actual: Any, expected: Any, tolerance: tuple[float, float, float]
) -> Difference:
    if expected is None or actual is None:
        same = expected is None and actual is None
        return Difference(name, True) if same else _disagree(name, f"{actual}, not {expected}")
    if len(actual) != len(expected):
        return _disagree(name, f"{len(actual)} elements, expected {len(expected)}")
    parts = [
        difference(f"{name}[{index}]", a, e, *tolerance)
        for index, (a, e) in enumerate(zip(actual, expected, strict=True))
    ]
    return max(parts, key=lambda d: (not d.agrees, d.max_abs), default=Difference(name, True))


def _numbers(
    name: str, actual: np.ndarray, expected: np.ndarray, tolerance: tuple[float, float, float]
) -> Difference:
    rtol, atol, scaled = tolerance
    kind = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, e = actual.astype(kind), expected.astype(kind)
    finite = np.abs(e[np.isfinite(e)])
    largest = float(finite.max()) if finite.size else 0.0
    same = (a == e) | (np.isnan(a) & np.isnan(e))
    with np.errstate(invalid="ignore", over="ignore"):
        gap = np.where(same, 0.0, np.abs(a - e))
        gap = np.where(np.isfinite(gap), gap, np.inf)
        bound = atol + scaled * largest + rtol * np.abs(e)
    if not gap.size or gap.max() == 0:
        return Difference(name, True)
    at = np.unravel_index(int(gap.argmax()), gap.shape)
    where = tuple(int(i) for i in at)
    worst = float(gap[at])
    outside = int(np.count_nonzero(np.isinf(gap) | (gap > bound)))
    reason = ""
    if outside:
        reason = (
            f"{outside} of {gap.size} elements; at {list(where)} {actual[at]}, "
            f"expected {expected[at]}"
        )
    relative = worst / largest if largest else np.inf
    return Difference(name, not outside, worst, relative, where, reason)
