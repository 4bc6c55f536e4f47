"""Linear models of ai.onnx.ml, and normalization of their features."""

from __future__ import annotations

from typing import Any

import numpy as np

from .ml_scores import both_classes, labelled, transformed
from .operator import ML, Operator


def _scores(x: np.ndarray, coefficients: Any, intercepts: Any, rows: int) -> np.ndarray:
    features = np.atleast_2d(x).astype(np.float64)
    columns = features.shape[-1]
    if len(coefficients) != rows * columns:
        raise ValueError(f"{len(coefficients)} coefficients, expected {rows} x {columns}")
    weights = np.array(coefficients, np.float64).reshape(rows, columns)
    offsets = np.array(intercepts, np.float64) if intercepts else 0.0
    return np.asarray(features @ weights.T + offsets)


class LinearRegressor(Operator):
    """LinearRegressor."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, coefficients: Any, intercepts: Any, post_transform: str,
        targets: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        return (transformed(_scores(x, coefficients, intercepts, targets), post_transform),)


class LinearClassifier(Operator):
    """LinearClassifier; one row of coefficients may stand for two classes."""

    op_domain = ML

    def _run(
        self, x: np.ndarray, *, classlabels_ints: Any, classlabels_strings: Any,
        coefficients: Any, intercepts: Any, multi_class: int, post_transform: str,
    ) -> tuple[Any, ...]:  # fmt: skip
        rows = len(coefficients) // max(np.atleast_1d(x).shape[-1], 1)
        scores = _scores(x, coefficients, intercepts, rows)
        count = len(classlabels_strings or classlabels_ints or ())
        if rows == 1 and count == 2:
            # The label depends on the score itself, before it is transformed.
            first = (scores[:, 0] > 0).astype(np.int64)
            scores = both_classes(scores, post_transform, probabilities=True)
        else:
            first = scores.argmax(1)
            scores = transformed(scores, post_transform)
        return labelled(first, classlabels_ints, classlabels_strings), scores


class Normalizer(Operator):
    """Normalizer; of zeros nothing is divided."""

    op_domain = ML

    def _run(self, x: np.ndarray, *, norm: str) -> tuple[Any, ...]:
        wide = x.astype(np.float32)
        size = {
            "MAX": lambda: wide.max(-1, keepdims=True),
            "L1": lambda: np.abs(wide).sum(-1, keepdims=True),
            "L2": lambda: np.sqrt((wide * wide).sum(-1, keepdims=True)),
        }[norm]()
        return (np.where(size == 0, wide, wide / np.where(size == 0, 1, size)),)


class Scaler(Operator):
    """Scaler, of all features or of each."""

    op_domain = ML

    def _run(self, x: np.ndarray, *, offset: Any, scale: Any) -> tuple[Any, ...]:
        y = x.astype(np.float32) if x.dtype.kind != "f" else x
        return ((y - np.array(offset or [0.0])) * np.array(scale or [1.0]),)
