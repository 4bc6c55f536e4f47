"""Normalizations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .operator import Operator


def _per_channel(values: np.ndarray, rank: int) -> np.ndarray:
    return values.reshape(-1, *[1] * (rank - 2)) if rank > 1 else values


def _standardized(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> tuple[Any, Any, Any]:
    """(x - mean) / deviation, mean and inverse deviation, with the axes kept."""
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    inverse = 1 / np.sqrt((centred * centred).mean(axes, keepdims=True) + epsilon)
    return centred * inverse, mean, inverse


class LayerNormalization(Operator):
    """LayerNormalization; statistics in float32, or in double for double."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None, *,
        axis: int, epsilon: float, stash_type: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        axes = tuple(range(axis % x.ndim, x.ndim))
        y, mean, inverse = _standardized(x, axes, epsilon)
        y = y * scale if bias is None else y * scale + bias
        stash = np.float64 if stash_type == 11 else np.float32
        return (y, mean.astype(stash), inverse.astype(stash))[: len(self.onnx_node.output)]


class RMSNormalization(Operator):
    """RMSNormalization."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, *, axis: int, epsilon: float, stash_type: int
    ) -> tuple[Any, ...]:
        axes = tuple(range(axis % x.ndim, x.ndim))
        return (x / np.sqrt((x * x).mean(axes, keepdims=True) + epsilon) * scale,)


class InstanceNormalization(Operator):
    """InstanceNormalization."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, *, epsilon: float
    ) -> tuple[Any, ...]:
        y, _, _ = _standardized(x, tuple(range(2, x.ndim)), epsilon)
        return (y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim),)


class GroupNormalization(Operator):
    """GroupNormalization; scale and bias are per group before opset 21, per channel since."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, *,
        num_groups: int, epsilon: float, stash_type: int = 1,
    ) -> tuple[Any, ...]:  # fmt: skip
        grouped = x.reshape(x.shape[0], num_groups, math.prod(x.shape[1:]) // num_groups)
        y, _, _ = _standardized(grouped, (2,), epsilon)
        if scale.size != x.shape[1]:
            each = x.shape[1] // num_groups
            scale, bias = np.repeat(scale, each), np.repeat(bias, each)
        y = y.reshape(x.shape)
        return (y * _per_channel(scale, x.ndim) + _per_channel(bias, x.ndim),)


class BatchNormalization(Operator):
    """BatchNormalization; training only where the node says so, since opset 14."""

    def _run(
        self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray,
        variance: np.ndarray, *, epsilon: float, momentum: float, training_mode: int = 0,
        spatial: int = 1,
    ) -> tuple[Any, ...]:  # fmt: skip
        if not spatial:  # statistics of each element of a sample
            y = (x - mean) / np.sqrt(variance + epsilon) * scale + bias
            return (y,)
        results = []
        if training_mode:
            axes = tuple(i for i in range(x.ndim) if i != 1)
            own_mean, own_variance = x.mean(axes), x.var(axes)
            results = [
                mean * momentum + own_mean * (1 - momentum),
                variance * momentum + own_variance * (1 - momentum),
            ]
            mean, variance = own_mean, own_variance
        factor = scale / np.sqrt(variance + epsilon)
        y = (x - _per_channel(mean, x.ndim)) * _per_channel(factor, x.ndim)
        return (y + _per_channel(bias, x.ndim), *results)[: len(self.onnx_node.output)]


class LRN(Operator):
    """Local response normalization across channels, of any number of axes."""

    def _run(
        self, x: np.ndarray, *, alpha: float, beta: float, bias: float, size: int
    ) -> tuple[Any, ...]:
        before, behind = math.floor((size - 1) / 2), math.ceil((size - 1) / 2)
        widths = [(0, 0), (before, behind), *[(0, 0)] * (x.ndim - 2)]
        squares = np.pad(x * x, widths)
        count = x.shape[1]
        total = sum((squares[:, i : i + count] for i in range(size)), np.zeros_like(x))
        return (x / (bias + float(alpha) / size * total) ** beta,)


class LpNormalization(Operator):
    """Division by the norm along an axis; zeros stay zeros."""

    def _run(self, x: np.ndarray, *, axis: int, p: int) -> tuple[Any, ...]:
        norm = np.abs(x).sum(axis, keepdims=True) if p == 1 else np.linalg.norm(
            x, axis=axis, keepdims=True
        )  # fmt: skip
        return (np.where(norm == 0, 0, x / np.where(norm == 0, 1, norm)),)


class MeanVarianceNormalization(Operator):
    """Standardization along axes, with the epsilon of the standard's function."""

    def _run(self, x: np.ndarray, *, axes: list[int]) -> tuple[Any, ...]:
        chosen = tuple(axes)
        centred = x - x.mean(chosen, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(chosen, keepdims=True))
        return (centred / (deviation + 1e-9),)
