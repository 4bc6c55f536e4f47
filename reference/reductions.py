"""Reductions along axes, given as attribute or as input."""

from __future__ import annotations

from typing import Any

import numpy as np

from .operator import Operator


class _Reduction(Operator):
    """Axes, kept dimensions and sums in types that hold them."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Reduce, and keep the axes."""
        raise NotImplementedError

    def _run(
        self, x: np.ndarray, given: np.ndarray | None = None, *, keepdims: int,
        axes: list[int] | None = None, noop_with_empty_axes: int = 0,
    ) -> tuple[Any, ...]:  # fmt: skip
        axes = axes if given is None else given.reshape(-1).tolist()
        if not axes and noop_with_empty_axes:
            return (self.reduce(x, ()),)
        chosen = tuple(range(x.ndim)) if not axes else tuple(int(a) % x.ndim for a in axes)
        y = self.reduce(x, chosen)
        return (y if keepdims else y.squeeze(chosen),)


def _sum(x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
    return np.asarray(np.sum(x, axes, keepdims=True, dtype=x.dtype))


class ReduceSum(_Reduction):
    """Sum."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Sum of x."""
        return _sum(x, axes)


class ReduceSumSquare(_Reduction):
    """Sum of squares."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Sum of x x."""
        return _sum(x * x, axes)


class ReduceL1(_Reduction):
    """Sum of magnitudes."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Sum of |x|."""
        return _sum(np.abs(x), axes)


class ReduceL2(_Reduction):
    """Euclidean norm."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Root of the sum of x x."""
        wide = _real(x)
        return np.asarray(np.sqrt(_sum(wide * wide, axes)))


class ReduceMean(_Reduction):
    """Mean; that of integers is cut off, that of nothing is 0.

    The standard leaves the last open; onnxruntime has it so.
    """

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Mean."""
        if not x.size:
            return _sum(x, axes)
        if x.dtype.kind in "iu":
            return np.asarray(np.trunc(np.mean(x, axes, keepdims=True)))
        return np.asarray(np.mean(x, axes, keepdims=True, dtype=x.dtype))


class ReduceLogSum(_Reduction):
    """Logarithm of the sum."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Log of the sum."""
        return np.asarray(np.log(_sum(_real(x), axes)))


class ReduceLogSumExp(_Reduction):
    """Logarithm of the sum of exponentials, which neither overflows nor fails at infinity."""

    def reduce(self, x: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
        """Log of the sum of exp(x), the largest taken out."""
        x = _real(x)
        largest = np.max(x, axes, keepdims=True, initial=-np.inf)
        shift = np.where(np.isfinite(largest), largest, 0)
        return np.asarray(np.log(_sum(np.exp(x - shift), axes)) + shift)


def _real(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64) if x.dtype.kind in "iu" else x


class CumSum(Operator):
    """Running sum along an axis."""

    def _run(
        self, x: np.ndarray, axis: np.ndarray, *, exclusive: int, reverse: int
    ) -> tuple[Any, ...]:
        along = int(axis.reshape(-1)[0])
        x = np.flip(x, along) if reverse else x
        y = np.cumsum(x, along, dtype=x.dtype)
        if exclusive:
            y = np.roll(y, 1, along)
            np.moveaxis(y, along, 0)[:1] = 0
        return (np.flip(y, along) if reverse else y,)
