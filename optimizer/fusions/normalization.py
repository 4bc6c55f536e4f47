"""LayerNormalization and RMSNormalization written out: means, root, scale and bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, NearMiss, apply_rules, either, op, rewrite
from ..values import attribute, axes_of, scalar, static_shape


def _normalized(x: Any, epsilon: Any) -> Any:
    deviation = x - op.ReduceMean(x, ...).named("mean")
    square = either(deviation * deviation, deviation**2.0)
    variance = op.ReduceMean(square, ...).named("variance")
    root = op.Sqrt(variance + epsilon)
    return either(deviation / root, deviation * op.Reciprocal(root))


def _axes(value: ir.Value) -> list[int] | None:
    node = value.producer()
    assert node is not None
    if not attribute(node, "keepdims", 1):
        return None
    return axes_of(node)


def _normalized_sizes(m: Match, axes: list[int] | None, *parameters: ir.Value | None) -> Any:
    """Sizes of the last axes, which a mean is over, and epsilon; parameters have to have them."""
    m.require(m.x.dtype == ir.DataType.FLOAT, "it is not float32")
    sizes = m.sizes(m.x)
    if axes is None:
        raise NearMiss("the means are over different axes")
    axes = sorted(axis % len(sizes) for axis in axes)
    last = list(range(len(sizes) - len(axes), len(sizes)))
    m.require(bool(axes) and axes == last, "the axes are not the last ones")
    epsilon = scalar(m.epsilon)
    m.require(epsilon is not None, "epsilon is not a constant number")
    normalized = tuple(size for size in sizes[-len(axes) :] if isinstance(size, int))
    m.require(len(normalized) == len(axes), "the normalized sizes are not known")
    for value in parameters:
        fits = value is None or static_shape(value) == normalized
        m.require(fits, "scale or bias has another shape than what is normalized")
    return normalized, epsilon


def _normalize(m: Match, scale: ir.Value | None, bias: ir.Value | None) -> ir.Value:
    m.require(m.opset >= 17, "LayerNormalization needs opset 17")
    axes = _axes(m.mean)
    same = axes == _axes(m.variance)
    normalized, epsilon = _normalized_sizes(m, axes if same else None, scale, bias)
    factor = np.ones(normalized, np.float32) if scale is None else scale
    operands = [m.x, factor] if bias is None else [m.x, factor, bias]
    return m.op.LayerNormalization(*operands, axis=-len(normalized), epsilon=epsilon)


@rewrite(lambda x, epsilon, scale, bias: _normalized(x, epsilon) * scale + bias)
def _layer_normalization(m: Match) -> ir.Value:
    return _normalize(m, m.scale, m.bias)


@rewrite(lambda x, epsilon, scale: _normalized(x, epsilon) * scale)
def _layer_normalization_without_bias(m: Match) -> ir.Value:
    return _normalize(m, m.scale, None)


@rewrite(lambda x, epsilon: _normalized(x, epsilon))
def _plain_layer_normalization(m: Match) -> ir.Value:
    return _normalize(m, None, None)


def _over_root(x: Any, epsilon: Any) -> Any:
    square = either(x * x, x**2.0)
    root = op.Sqrt(op.ReduceMean(square, ...).named("mean") + epsilon)
    return either(x / root, x * op.Reciprocal(root))


@rewrite(lambda x, epsilon, scale: _over_root(x, epsilon) * scale)
def _rms_normalization(m: Match) -> ir.Value:
    m.require(m.opset >= 23, "RMSNormalization needs opset 23")
    normalized, epsilon = _normalized_sizes(m, _axes(m.mean), m.scale)
    result: ir.Value = m.op.RMSNormalization(m.x, m.scale, axis=-len(normalized), epsilon=epsilon)
    return result


fuse_normalization = apply_rules(
    [
        _layer_normalization,
        _layer_normalization_without_bias,
        _plain_layer_normalization,
        _rms_normalization,
    ]
)
