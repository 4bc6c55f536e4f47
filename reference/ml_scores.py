"""Scores of classifiers and regressors of ai.onnx.ml: transforms, second classes, labels."""

from __future__ import annotations

from typing import Any

import numpy as np


def _logistic(x: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.tanh(0.5 * x) + 0.5)


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _softmax_zero(x: np.ndarray) -> np.ndarray:
    """Softmax in which scores of zero stay zero."""
    largest = x.max(-1, keepdims=True)
    powers = np.where(np.abs(x) > 1e-7, np.exp(x - largest), x * np.exp(-largest))
    total = powers.sum(-1, keepdims=True)
    return np.where(total == 0, 0.5, powers / np.where(total == 0, 1, total))


def _probit(x: np.ndarray) -> np.ndarray:
    """Inverse of the normal distribution, by Winitzki's approximation of erf's inverse."""
    y = 2 * x - 1
    log = np.log((1 - y) * (1 + y))
    v = 2 / (np.pi * 0.147) + 0.5 * log
    root = np.sqrt(np.sqrt(v * v - log / 0.147) - v)
    return np.asarray(np.sqrt(2) * np.where(y < 0, -1, 1) * root)


_TRANSFORMS: dict[str, Any] = {
    "NONE": lambda x: x, "LOGISTIC": _logistic, "SOFTMAX": _softmax,
    "SOFTMAX_ZERO": _softmax_zero, "PROBIT": _probit,
}  # fmt: skip


def transformed(scores: np.ndarray, name: str) -> np.ndarray:
    """Apply a post_transform to scores of shape (rows, classes)."""
    return np.asarray(_TRANSFORMS[name](scores))


def both_classes(scores: np.ndarray, name: str, *, probabilities: bool) -> np.ndarray:
    """Scores of both classes from one column of those of the second.

    Probabilities add up to one, other scores are opposites. The standard does not say how a
    post_transform is applied to them: as in onnxruntime, only a function of single scores is.
    """
    if name == "PROBIT":
        return transformed(scores, name)
    if name == "LOGISTIC":
        scores, probabilities = transformed(scores, name), True
    return np.concatenate([1 - scores if probabilities else -scores, scores], 1)


def labelled(indices: np.ndarray, integers: Any, strings: Any) -> np.ndarray:
    """Labels of classes; the indices themselves where there are none."""
    if strings:
        names = np.empty(len(strings), object)
        names[:] = strings
        return names[indices]
    return np.asarray(np.array(integers, np.int64)[indices] if integers else indices)
