"""Scores and labels of rows: what is left to do once linear models have their sums."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..scalar_operators import SCALAR
from ..simd import load_f32, load_f64, load_i64, store_f32, store_f64, store_i64
from .tree_scores import make_largest, make_transform

_ROUNDS, _EPSILON, _LEAST = 100, 0.005, 1e-7

_exp = SCALAR["exp"]
_largest = make_largest(load_f32)
_transform = make_transform(np.float32, load_f32, store_f32)


@kernel
def choose_classes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, rows: int, classes: int, labels: Pointer, names: Pointer,
) -> int:  # fmt: skip
    """Write the entry of ``names`` for the largest score of a row, the first of several.

    A score alone is that of the second of two classes, which is chosen above zero. Rows are split
    into parts.
    """
    for row in range(rows * part // parts, rows * until // parts):
        if classes == 1:
            place = np.int64(load_f32(x, row) > 0)
        else:
            place = _largest(x + row * classes * 4, classes)
        store_i64(labels, row, load_i64(names, place))
    return 0


@kernel
def both_classes(
    thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, rows: int, opposite: int
) -> int:
    """Write two scores a row of that of the second class.

    The first is its opposite, or what is left of 1. Rows are split into parts.
    """
    whole = np.float32(0) if opposite else np.float32(1)
    for row in range(rows * part // parts, rows * until // parts):
        second = load_f32(x, row)
        store_f32(y, 2 * row, whole - second)
        store_f32(y, 2 * row + 1, second)
    return 0


@kernel
def transform_scores(
    thread: int, part: int, until: int, parts: int, x: Pointer, rows: int, count: int,
    transform: int,
) -> int:  # fmt: skip
    """Apply a transform to the scores of each row, in place. Rows are split into parts."""
    for row in range(rows * part // parts, rows * until // parts):
        _transform(transform, x + row * count * 4, count)
    return 0


@kernel
def vote(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, rows: int, classes: int, labels: Pointer, names: Pointer, scratch: Pointer,
    scratch_bytes: int,
) -> int:  # fmt: skip
    """Choose the class that wins most pairs, the first of several: its entry of ``names``.

    ``x`` has the scores of the pairs (0, 1), (0, 2), ... (1, 2), ...: the first class wins where
    they are above zero, the second else, also for NaN. Rows are split into parts.
    """
    votes, pairs = scratch + thread * scratch_bytes, classes * (classes - 1) // 2
    for row in range(rows * part // parts, rows * until // parts):
        for i in range(classes):
            store_i64(votes, i, 0)
        at = row * pairs
        for i in range(classes):
            for j in range(i + 1, classes):
                score = load_f32(x, at)
                winner = i if score > 0 else j
                store_i64(votes, winner, load_i64(votes, winner) + 1)
                at += 1
        best = 0
        for i in range(1, classes):
            if load_i64(votes, i) > load_i64(votes, best):
                best = i
        store_i64(labels, row, load_i64(names, best))
    return 0


# --- probabilities ----------------------------------------------------------------------------


@njit
def _pair_probabilities(x: Pointer, classes: int, a: Pointer, b: Pointer, r: Pointer) -> None:
    """Write the probability that class i wins against j as ``r[i, j]``."""
    at = 0
    for i in range(classes):
        for j in range(i + 1, classes):
            inner = load_f64(a, at) * np.float64(load_f32(x, at)) + load_f64(b, at)
            first = min(max(1.0 / (1.0 + _exp(inner)), _LEAST), 1.0 - _LEAST)
            store_f64(r, i * classes + j, first)
            store_f64(r, j * classes + i, 1.0 - first)
            at += 1


@njit
def _form(classes: int, r: Pointer, q: Pointer) -> None:
    """Write the matrix of the quadratic form that the probabilities make smallest."""
    for i in range(classes):
        total = 0.0
        for j in range(classes):
            if i == j:
                continue
            other = load_f64(r, j * classes + i)
            total += other * other
            store_f64(q, i * classes + j, -other * load_f64(r, i * classes + j))
        store_f64(q, i * classes + i, total)


@njit
def _times(classes: int, q: Pointer, p: Pointer, qp: Pointer) -> float:
    """Multiply a matrix by a vector; returns the product of both."""
    whole = 0.0
    for i in range(classes):
        total = 0.0
        for j in range(classes):
            total += load_f64(q, i * classes + j) * load_f64(p, j)
        store_f64(qp, i, total)
        whole += total * load_f64(p, i)
    return whole


@njit
def _couple(classes: int, q: Pointer, p: Pointer, qp: Pointer) -> None:
    for i in range(classes):
        store_f64(p, i, 1.0 / classes)
    for _ in range(max(_ROUNDS, classes)):
        whole, furthest = _times(classes, q, p, qp), 0.0
        for i in range(classes):
            furthest = max(furthest, abs(load_f64(qp, i) - whole))
        if furthest < _EPSILON / classes:
            break
        for i in range(classes):
            own = load_f64(q, i * classes + i)
            step = (whole - load_f64(qp, i)) / own
            store_f64(p, i, load_f64(p, i) + step)
            scale = 1.0 / (1.0 + step)
            whole = (whole + step * (step * own + 2.0 * load_f64(qp, i))) * scale * scale
            for j in range(classes):
                moved = load_f64(qp, j) + step * load_f64(q, i * classes + j)
                store_f64(qp, j, moved * scale)
                store_f64(p, j, load_f64(p, j) * scale)


@kernel
def couple_pairs(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, rows: int, classes: int, a: Pointer, b: Pointer, scratch: Pointer,
    scratch_bytes: int,
) -> int:  # fmt: skip
    """Give the probabilities of classes from the scores of pairs, in the order of `vote`.

    Second method of Wu, Lin and Weng, "Probability estimates for multi-class classification by
    pairwise coupling", 2004, with the limits of LIBSVM. ``a`` and ``b`` (float64) are those of the
    sigmoid of each pair. The scratch has two matrices and two vectors. Rows are split into parts.
    """
    r, pairs = scratch + thread * scratch_bytes, classes * (classes - 1) // 2
    q = r + classes * classes * 8
    p = q + classes * classes * 8
    qp = p + classes * 8
    for row in range(rows * part // parts, rows * until // parts):
        _pair_probabilities(x + row * pairs * 4, classes, a, b, r)
        _form(classes, r, q)
        _couple(classes, q, p, qp)
        for i in range(classes):
            store_f32(y, row * classes + i, np.float32(load_f64(p, i)))
    return 0
