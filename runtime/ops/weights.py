"""Weights of Conv and ConvTranspose as `Convolution` has them: constants, or views of a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..emission import Emission
from ..graph import Node
from ..symbolic import Dim
from ..tensors import Tensor
from .windows import spatial_numbers


def kernel_sizes(node: Node) -> list[int]:
    """Sizes of a node's weights along the spatial axes, which have to be known."""
    declared = node.attribute("kernel_shape")
    return spatial_numbers(declared or node.required(1).dims[2:])


def conv_weights(emit: Emission, node: Node, groups: int) -> np.ndarray | Tensor:
    """Weights (M, C / groups, kernel) of a Conv."""
    if node.required(1).is_constant:
        return three_axes(node.required(1).array())
    w = _at_run_time(emit, node)
    emit.check(w.shape[0] % groups, 0, f"filters beyond whole groups in {w.name!r}")
    per_group = w.shape[0] // groups
    return w.view((groups, per_group, *w.shape[1:]), (per_group * w.strides[0], *w.strides))


def transpose_weights(emit: Emission, node: Node, groups: int) -> np.ndarray | Tensor:
    """Weights (C, M / groups, kernel) of a ConvTranspose as those of a Conv."""
    if node.required(1).is_constant:
        weights = three_axes(node.required(1).array())
        parts = weights.reshape(groups, -1, *weights.shape[1:]).swapaxes(1, 2)
        return parts.reshape(-1, *parts.shape[2:])
    w = _at_run_time(emit, node)
    emit.check(w.shape[0] % groups, 0, f"channels beyond whole groups in {w.name!r}")
    (channels, per_group, *kernel), s = w.shape, w.strides
    shape = (groups, per_group, channels // groups, *kernel)
    return w.view(shape, (channels // groups * s[0], s[1], s[0], *s[2:]))


def with_taps(weights: np.ndarray | Tensor, taps: Sequence[Sequence[int]]) -> np.ndarray | Tensor:
    """Choose some taps along slices, rows and columns, which are evenly apart; last ones first."""
    if isinstance(weights, np.ndarray):
        for axis, own in zip((-3, -2, -1), taps, strict=True):
            weights = np.take(weights, own[::-1], axis)
        return weights
    shape, strides = list(weights.shape), list(weights.strides)
    first: Dim = 0
    for axis, own in zip((-3, -2, -1), taps, strict=True):
        first = first + own[-1] * strides[axis]
        strides[axis] = strides[axis] * (own[0] - own[1] if len(own) > 1 else 1)
        shape[axis] = len(own)
    return weights.view(shape, strides, first)


def _at_run_time(emit: Emission, node: Node) -> Tensor:
    """Weights that a step computes, with three spatial axes."""
    w, kernel = emit.tensor(node.values[1]), kernel_sizes(node)
    for size, taps in zip(w.shape[2:], kernel, strict=True):
        emit.check(size, taps, f"size of the window and of {w.name!r}")
    missing = 3 - len(kernel)
    shape = (*w.shape[:2], *[1] * missing, *kernel)
    return w.view(shape, (*w.strides[:2], *[0] * missing, *w.strides[2:]))


def three_axes(weights: np.ndarray) -> np.ndarray:
    """Weights of a window over one to three axes as those over three."""
    missing = 5 - weights.ndim
    return weights.reshape(*weights.shape[:2], *[1] * missing, *weights.shape[2:])
