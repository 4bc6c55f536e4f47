"""Poolings, with dilations, padding and rounded-up counts in any number of axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .operator import Operator
from .windows import windows_of


def _flat(windows: np.ndarray, rank: int) -> np.ndarray:
    outer = windows.ndim - rank
    return windows.reshape(*windows.shape[:outer], math.prod(windows.shape[outer:]))


class MaxPool(Operator):
    """MaxPool, with the places of the largest elements."""

    def _run(
        self, x: np.ndarray, *, kernel_shape: Sequence[int], storage_order: int = 0, **window: Any
    ) -> tuple[Any, ...]:
        spatial, rank = x.shape[2:], len(kernel_shape)
        windows = windows_of(spatial, kernel_shape, **window)
        lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
        taken = _flat(windows.view(windows.padded(x, lowest)), rank)
        if len(self.onnx_node.output) < 2:
            return (taken.max(-1),)
        flat = np.arange(np.prod(spatial, dtype=np.int64))
        positions = flat.reshape(spatial[::-1]).T if storage_order else flat.reshape(spatial)
        where = _flat(windows.view(windows.padded(positions, -1)), rank)
        best = taken.argmax(-1)
        # Nothing above the padding's value: the first that is none.
        best = np.where(_at(where, best) < 0, (where >= 0).argmax(-1), best)
        planes = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *[1] * rank)
        return _at(taken, best), _at(where, best) + planes * flat.size


def _at(windows: np.ndarray, best: np.ndarray) -> np.ndarray:
    """Elements of windows at one position in each."""
    windows = np.broadcast_to(windows, (*best.shape, windows.shape[-1]))
    return np.take_along_axis(windows, best[..., None], -1)[..., 0]


class AveragePool(Operator):
    """AveragePool, which counts declared padding or not, and never what lies beyond it."""

    def _run(
        self, x: np.ndarray, *, kernel_shape: Sequence[int], count_include_pad: int = 0,
        **window: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rank = len(kernel_shape)
        windows = windows_of(x.shape[2:], kernel_shape, **window)
        sums = _flat(windows.view(windows.padded(x, 0)), rank).sum(-1, dtype=x.dtype)
        counted = windows.padded(np.ones(x.shape[2:], x.dtype), 0)
        if count_include_pad:
            sizes = zip(x.shape[2:], windows.begins, windows.ends, strict=True)
            counted[tuple(slice(0, n + begin + end) for n, begin, end in sizes)] = 1
        return (sums / _flat(windows.view(counted), rank).sum(-1),)


class LpPool(Operator):
    """LpPool: the norm of each window."""

    def _run(
        self, x: np.ndarray, *, kernel_shape: Sequence[int], p: int = 2, **window: Any
    ) -> tuple[Any, ...]:
        windows = windows_of(x.shape[2:], kernel_shape, **window)
        taken = _flat(windows.view(windows.padded(x, 0)), len(kernel_shape))
        return (_norm(taken, (-1,), p, keepdims=False),)


def _norm(x: np.ndarray, axes: tuple[int, ...], p: float, *, keepdims: bool) -> np.ndarray:
    """Norm in double; ``p`` of the first version comes as a float32."""
    powers = np.abs(x.astype(np.float64)) ** float(p)
    return np.asarray(powers.sum(axes, keepdims=keepdims) ** (1 / float(p)))


def _spatial(x: np.ndarray) -> tuple[int, ...]:
    return tuple(range(2, x.ndim))


class GlobalAveragePool(Operator):
    """Mean of each channel."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (x.mean(_spatial(x), keepdims=True),)


class GlobalMaxPool(Operator):
    """Largest element of each channel."""

    def _run(self, x: np.ndarray) -> tuple[Any, ...]:
        return (x.max(_spatial(x), keepdims=True),)


class GlobalLpPool(Operator):
    """Norm of each channel."""

    def _run(self, x: np.ndarray, *, p: int = 2) -> tuple[Any, ...]:
        return (_norm(x, _spatial(x), p, keepdims=True),)


class MaxUnpool(Operator):
    """Elements put where the largest were; places count in the shape that the window implies."""

    def _run(
        self, x: np.ndarray, places: np.ndarray, shape: np.ndarray | None = None, *,
        kernel_shape: Sequence[int], pads: Any = None, strides: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        rank = len(kernel_shape)
        pads, strides = pads or [0] * 2 * rank, strides or [1] * rank
        spatial = [
            (x.shape[2 + i] - 1) * strides[i] - pads[i] - pads[i + rank] + kernel_shape[i]
            for i in range(rank)
        ]
        y = np.zeros((*x.shape[:2], *spatial), x.dtype)
        if places.size and (places.min() < 0 or places.max() >= y.size):
            raise ValueError(f"places outside an output of {y.size} elements")
        y.reshape(-1)[places.reshape(-1)] = x.reshape(-1)
        if shape is None:
            return (y,)
        full = np.zeros(tuple(shape.tolist()), x.dtype)
        common = tuple(slice(0, min(a, b)) for a, b in zip(y.shape, full.shape, strict=True))
        full[common] = y[common]
        return (full,)
