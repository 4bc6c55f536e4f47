"""Support vector machines of ai.onnx.ml."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ml_scores import both_classes, labelled, transformed
from .operator import ML, Operator


def _kernel(x: np.ndarray, vectors: np.ndarray, kind: str, parameters: Any) -> np.ndarray:
    """Values of the kernel for each row and vector."""
    if kind == "LINEAR":
        return np.asarray(x @ vectors.T)
    gamma, offset, degree = (float(v) for v in parameters)
    if kind == "RBF":
        apart = ((x[:, None] - vectors) ** 2).sum(-1)
        return np.asarray(np.exp(-gamma * apart))
    inner = gamma * (x @ vectors.T) + offset
    return np.asarray(np.tanh(inner) if kind == "SIGMOID" else inner**degree)


def _rows(x: np.ndarray) -> np.ndarray:
    return (x.reshape(1, -1) if x.ndim == 1 else x).astype(np.float64)


class SVMRegressor(Operator):
    """SVMRegressor; without support vectors its coefficients are those of a linear model."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, coefficients: Any, kernel_params: Any, kernel_type: str,
        n_supports: int, one_class: int, post_transform: str, rho: Any, support_vectors: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        weights = np.array(coefficients, np.float64)
        vectors = weights[None]
        if n_supports:
            vectors = np.array(support_vectors, np.float64).reshape(n_supports, -1)
        values = _kernel(_rows(x), vectors, kernel_type, kernel_params)
        y = (values @ weights if n_supports else values[:, 0]) + float(rho[0])
        y = np.where(y > 0, 1, -1) if one_class else y
        return (transformed(y[:, None].astype(np.float32), post_transform),)


class SVMClassifier(Operator):
    """SVMClassifier: votes of all pairs of classes, with probabilities where they are given."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, classlabels_ints: Any, classlabels_strings: Any,
        coefficients: Any, kernel_params: Any, kernel_type: str, post_transform: str, prob_a: Any,
        prob_b: Any, rho: Any, support_vectors: Any, vectors_per_class: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rows, weights = _rows(x), np.array(coefficients, np.float64)
        count = max(1, len(classlabels_strings or classlabels_ints or ()))
        if not vectors_per_class:
            scores = _kernel(rows, weights.reshape(count, -1), "LINEAR", None) + float(rho[0])
            best = scores.argmax(1)
        else:
            number = sum(vectors_per_class)
            vectors = np.array(support_vectors, np.float64).reshape(number, -1)
            values = _kernel(rows, vectors, kernel_type, kernel_params)
            scores, votes = _pairs(values, weights.reshape(-1, number), vectors_per_class, rho)
            best = votes.argmax(1)
            if prob_a:
                scores = _probabilities(scores, count, prob_a, prob_b)
        y = scores.astype(np.float32)
        if scores.shape[1] == 1:  # a score that is to be transformed is taken for a probability
            y = both_classes(y, post_transform, probabilities=post_transform != "NONE")
        else:
            y = transformed(y, post_transform)
        return labelled(best, classlabels_ints, classlabels_strings), y


def _pairs(
    values: np.ndarray, weights: np.ndarray, sizes: list[int], rho: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all pairs of classes, and the votes that each class gets."""
    ends = np.cumsum(sizes)
    parts = [slice(end - size, end) for end, size in zip(ends, sizes, strict=True)]
    votes = np.zeros((len(values), len(sizes)))
    scores: list[np.ndarray] = []
    for i in range(len(sizes)):
        for j in range(i + 1, len(sizes)):
            score = values[:, parts[i]] @ weights[j - 1, parts[i]]
            score = score + values[:, parts[j]] @ weights[i, parts[j]] + float(rho[len(scores)])
            votes[:, i] += score > 0
            votes[:, j] += ~(score > 0)
            scores.append(score)
    return np.stack(scores, 1), votes


def _probabilities(scores: np.ndarray, count: int, prob_a: Any, prob_b: Any) -> np.ndarray:
    """Probabilities of the classes from those of the pairs.

    Second method of Wu, Lin and Weng, "Probability estimates for multi-class classification by
    pairwise coupling", 2004.
    """
    inner = scores * np.array(prob_a, np.float64) + np.array(prob_b, np.float64)
    first = np.clip(0.5 - 0.5 * np.tanh(0.5 * inner), 1e-7, 1 - 1e-7)
    y = np.empty((len(scores), count))
    for row, pair in zip(y, first, strict=True):
        r = np.zeros((count, count))
        r[np.triu_indices(count, 1)] = pair
        r += np.tril(1 - r.T, -1)
        row[:] = _coupled(r)
    return y


def _coupled(r: np.ndarray) -> np.ndarray:
    count = len(r)
    q = -r.T * r
    np.fill_diagonal(q, (r * r).sum(0))
    p = np.full(count, 1 / count)
    for _ in range(max(100, count)):
        qp = q @ p
        pqp = p @ qp
        if np.abs(qp - pqp).max() < 0.005 / count:
            break
        for t in range(count):
            step = (pqp - qp[t]) / q[t, t]
            p[t] += step
            pqp = (pqp + step * (step * q[t, t] + 2 * qp[t])) / (1 + step) ** 2
            p /= 1 + step
            qp = (qp + step * q[t]) / (1 + step)
    return p
