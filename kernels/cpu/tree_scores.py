"""Scores and labels of a row, from the sums that trees gave it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer
from ..scalar_operators import SCALAR
from ..simd import load_i64, store_i64

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")
"""Transforms of scores, by their numbers."""
AS_IT_IS, PROBABILITY, OPPOSITE = 0, 1, 2
"""What the first of two scores is, of which the only sum is the second: see `Scores`."""
_SOFTMAX, _LOGISTIC, _SOFTMAX_ZERO, _PROBIT = 1, 2, 3, 4


class Scores(NamedTuple):
    """What becomes of the ``sums`` of a row.

    They are divided by ``divisor``, the ``base`` is added (null: none), and then ``transform`` is
    applied. A sum alone may give two scores: itself, and before it what is left of 1
    (``other`` is ``PROBABILITY``) or its negative (``OPPOSITE``). The label (null: none) is an
    entry of the table ``names``: of the largest sum, or where ``decisive`` is not -1 the second
    entry if that sum is above ``limit``, else the first.
    """

    sums: int
    divisor: float
    base: Pointer
    transform: int
    other: int
    y: Pointer
    labels: Pointer
    names: Pointer
    decisive: int
    limit: float


def make_finish(real: str, out: str, aggregate: str) -> Any:
    """Make the function that finishes a row; its sums are of type ``real``, scores of ``out``.

    Of extrema that no weight has gone into, which a second array beside the sums tells, nothing is
    left.
    """
    number: Any = np.float32 if real == "f32" else np.float64
    stored: Any = np.float32 if out == "f32" else np.float64
    load, store, store_y = (
        getattr(simd, f"load_{real}"), getattr(simd, f"store_{real}"), getattr(simd, f"store_{out}")
    )  # fmt: skip
    apply, largest = make_transform(number, load, store), make_largest(load)
    div = SCALAR["div"]

    @njit
    def total(scores: Scores, sums: Pointer, target: int) -> Any:
        value = load(sums, target)
        if aggregate != "sum" and load(sums, scores.sums + target) == 0:
            value = number(0)
        value = div(value, number(scores.divisor))
        return value if scores.base == 0 else value + load(scores.base, target)

    @njit
    def finish(scores: Scores, row: int, sums: Pointer) -> None:
        for target in range(scores.sums):
            store(sums, target, total(scores, sums, target))
        if scores.labels != 0:
            if scores.decisive < 0:
                label = largest(sums, scores.sums)
            else:
                label = np.int64(load(sums, scores.decisive) > number(scores.limit))
            store_i64(scores.labels, row, load_i64(scores.names, label))
        apply(scores.transform, sums, scores.sums)
        if scores.other == AS_IT_IS:
            for target in range(scores.sums):
                store_y(scores.y, row * scores.sums + target, stored(load(sums, target)))
            return
        second = load(sums, 0)
        first = number(1) - second if scores.other == PROBABILITY else -second
        store_y(scores.y, 2 * row, stored(first))
        store_y(scores.y, 2 * row + 1, stored(second))

    return finish


def make_largest(load: Any) -> Any:
    """Make the function that finds the largest of numbers."""

    @njit
    def largest(values: Pointer, count: int) -> Any:
        """Return the place of the first of the largest values, NaN being larger than all."""
        place, best = 0, load(values, 0)
        is_known = best == best
        for i in range(1, count):
            value = load(values, i)
            is_known &= value == value
            is_larger = value > best
            place = i if is_larger else place
            best = value if is_larger else best
        if not is_known:
            place = 0
            while load(values, place) == load(values, place):
                place += 1
        return np.int64(place)

    return largest


# --- transforms -------------------------------------------------------------------------------


def make_transform(number: Any, load: Any, store: Any) -> Any:
    """Make the function that applies a transform to the scores of a row."""
    div, exp, tanh, log, sqrt = (SCALAR[name] for name in ("div", "exp", "tanh", "log", "sqrt"))
    half, tiny = number(0.5), number(1e-7)
    largest = make_largest(load)

    @njit
    def logistic(x: Any) -> Any:
        return half * tanh(half * x) + half

    @njit
    def probit(x: Any) -> Any:
        """Inverse of the normal distribution, by Winitzki's approximation of erf's inverse.

        Around 0.5 digits cancel, which doubles have enough of.
        """
        y = 2.0 * x - 1.0
        ratio = log((1.0 - y) * (1.0 + y))
        v = 2 / (np.pi * 0.147) + 0.5 * ratio
        root = math.sqrt(2.0) * sqrt(sqrt(v * v - ratio / 0.147) - v)
        return number(-root if y < 0 else root)

    @njit
    def softmax(values: Pointer, count: int, keeps_zeros: bool) -> None:
        """Exponentials that add up to one; scores of zero may stay zero."""
        most = load(values, largest(values, count))
        total = number(0)
        for i in range(count):
            x = load(values, i)
            is_zero = keeps_zeros and abs(x) <= tiny
            power = x * exp(-most) if is_zero else exp(x - most)
            store(values, i, power)
            total += power
        for i in range(count):
            is_nothing = keeps_zeros and total == 0
            store(values, i, half if is_nothing else div(load(values, i), total))

    @njit
    def apply(transform: int, values: Pointer, count: int) -> None:
        if transform in (_SOFTMAX, _SOFTMAX_ZERO):
            softmax(values, count, transform == _SOFTMAX_ZERO)
        elif transform == _LOGISTIC:
            for i in range(count):
                store(values, i, logistic(load(values, i)))
        elif transform == _PROBIT:
            for i in range(count):
                store(values, i, probit(load(values, i)))

    return apply
