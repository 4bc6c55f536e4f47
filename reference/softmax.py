"""Softmax and its relatives, which before opset 13 take all axes from one on as a single axis."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .operator import Operator


def _along(version: int, x: np.ndarray, axis: int, f: Callable[[np.ndarray], np.ndarray]) -> Any:
    """Apply a function of the last axis along an axis, or to all axes from there on."""
    if x.size == 0:
        return x
    if version >= 13:
        return np.moveaxis(f(np.moveaxis(x, axis, -1)), -1, axis)
    axis = axis % x.ndim if x.ndim else 0
    return f(x.reshape(math.prod(x.shape[:axis]), -1)).reshape(x.shape)


def _shifted(x: np.ndarray) -> np.ndarray:
    return x - x.max(-1, keepdims=True)


def _softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(_shifted(x))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = _shifted(x)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(-1, keepdims=True)))


def _hardmax(x: np.ndarray) -> np.ndarray:
    y = np.zeros_like(x)
    np.put_along_axis(y, x.argmax(-1)[..., None], 1, -1)
    return y


class Softmax(Operator):
    """Softmax."""

    def _run(self, x: np.ndarray, *, axis: int) -> tuple[Any, ...]:
        return (_along(self.version, x, axis, _softmax),)


class LogSoftmax(Operator):
    """LogSoftmax, finite where Softmax is zero."""

    def _run(self, x: np.ndarray, *, axis: int) -> tuple[Any, ...]:
        return (_along(self.version, x, axis, _log_softmax),)


class Hardmax(Operator):
    """Hardmax: one at the first of the largest."""

    def _run(self, x: np.ndarray, *, axis: int) -> tuple[Any, ...]:
        return (_along(self.version, x, axis, _hardmax),)
