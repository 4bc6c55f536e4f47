"""Operators of single elements that onnx's own gets wrong at zero, at infinity or in some types."""

from __future__ import annotations

import math
from typing import Any

import ml_dtypes
import numpy as np

from .operator import Operator

_erf = np.vectorize(math.erf, otypes=[np.float64])

_LARGEST = float(np.finfo(np.float32).max)
"""The number by which opset 6 says that a Clip has no limit, of whatever type."""


class Clip(Operator):
    """Clip: floats lie between the limits of their type where no others are given."""

    widens = False

    def _run(
        self, x: np.ndarray, low: Any = None, high: Any = None, **given: float | None
    ) -> tuple[Any, ...]:
        kind = x.dtype
        limits: Any = np.iinfo(kind) if kind.kind in "iu" else ml_dtypes.finfo(kind)
        named = {name: v for name, v in given.items() if v is not None and abs(v) != _LARGEST}
        low = named.get("min", limits.min) if low is None else low
        high = named.get("max", limits.max) if high is None else high
        return (np.minimum(np.maximum(x, kind.type(low)), kind.type(high)),)


class Erf(Operator):
    """Erf, also of double."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (_erf(x) if x.size else x,)


class Gelu(Operator):
    """Gelu, exact or by tanh."""

    def _run(self, x: np.ndarray, *, approximate: str) -> tuple[Any, ...]:
        wide = x.astype(np.float64)
        if approximate == "tanh":
            inner = math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)
            return (0.5 * wide * (1 + np.tanh(inner)),)
        return (0.5 * wide * (1 + _erf(wide / math.sqrt(2))) if x.size else x,)


class HardSwish(Operator):
    """HardSwish."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (x * np.clip(x / 6 + 0.5, 0, 1),)


class Mish(Operator):
    """Mish."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (x * np.tanh(np.logaddexp(x, 0)),)


class Softplus(Operator):
    """Softplus, which does not overflow."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (np.logaddexp(x, 0),)


class Softsign(Operator):
    """Softsign, also of scalars."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (x / (1 + np.abs(x)),)


class PRelu(Operator):
    """PRelu, whose slope does not touch zero."""

    def _run(self, x: np.ndarray, slope: np.ndarray) -> tuple[Any, ...]:
        return (np.where(x < 0, x * slope, x),)


class Pow(Operator):
    """Pow in the type of the base; powers of integers wrap, negative ones are cut off."""

    def _run(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
        if x.dtype.kind in "iu" and y.dtype.kind in "iu":
            # Of whole numbers to negative powers only those of 1 and -1 are left.
            powers = np.power(x.astype(np.uint64), np.where(y < 0, y & 1, y).astype(np.uint64))
            return (np.where((y < 0) & (np.abs(x) != 1), 0, powers.astype(x.dtype)),)
        if x.dtype.kind in "iu":
            return (np.power(x.astype(np.float64), y),)
        return (np.power(x, y),)


class Mod(Operator):
    """Mod, whose result has the divisor's sign, or with fmod the dividend's."""

    def _run(self, x: np.ndarray, y: np.ndarray, *, fmod: int) -> tuple[Any, ...]:
        _no_zero(self, y)
        return (np.fmod(x, y) if fmod else np.mod(x, y),)


class Div(Operator):
    """Div, which cuts off the quotient of integers."""

    def _run(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
        if x.dtype.kind not in "iu":
            return (np.divide(x, y),)
        _no_zero(self, y)
        quotient = np.floor_divide(x, y)
        cut = (quotient * y != x) & ((x < 0) != (y < 0))
        return (quotient + cut.astype(quotient.dtype),)


def _no_zero(operator: Operator, divisor: np.ndarray) -> None:
    if divisor.dtype.kind in "iu" and (divisor == 0).any():
        raise ZeroDivisionError(f"{operator.op_type} of integers by zero")
