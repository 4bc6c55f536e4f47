"""LayerNormalization and RMSNormalization written out: means, root, scale and bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, NearMiss, apply_rules, either, op, rewrite
from ..values import attribute, axes_of, rank, scalar, static_shape


def _mean(x: Any, name: str) -> Any:
    """Mean over the last axes; some exporters take it for a pooling."""
    return either(op.ReduceMean(x, ...), op.GlobalAveragePool(x)).named(name)


def _normalized(x: Any, epsilon: Any) -> Any:
    deviation = x - _mean(x, "mean")
    square = either(deviation * deviation, deviation**2.0)
    variance = _mean(square, "variance")
    root = op.Sqrt(variance + epsilon)
    return either(deviation / root, deviation * op.Reciprocal(root))


def _axes(value: ir.Value) -> list[int] | None:
    node = value.producer()
    assert node is not None
    if node.op_type == "GlobalAveragePool":
        axes = rank(value)
        return None if axes is None else list(range(2, axes))
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
        shape = () if value is None else static_shape(value) or ()
        leading = shape[: len(shape) - len(normalized)]
        fits = shape[len(leading) :] == normalized and set(leading) <= {1}
        fits &= len(shape) <= len(sizes)
        m.require(value is None or fits, "scale or bias has another shape than what is normalized")
    return normalized, epsilon


def _parameter(m: Match, value: ir.Value, normalized: tuple[int, ...]) -> ir.Value:
    """Scale or bias without leading axes of size 1."""
    if static_shape(value) == normalized:
        return value
    result: ir.Value = m.op.Reshape(value, np.array(normalized))
    return result


def _normalize(m: Match, scale: ir.Value | None, bias: ir.Value | None) -> ir.Value:
    m.require(m.opset >= 17, "LayerNormalization needs opset 17")
    axes = _axes(m.mean)
    same = axes == _axes(m.variance)
    normalized, epsilon = _normalized_sizes(m, axes if same else None, scale, bias)
    factor = np.ones(normalized, np.float32) if scale is None else scale
    operands = [m.x, factor] if bias is None else [m.x, factor, bias]
    operands[1:] = [
        _parameter(m, x, normalized) if isinstance(x, ir.Value) else x for x in operands[1:]
    ]
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


def _factored(x: Any, epsilon: Any, scale: Any, bias: Any) -> Any:
    """Normalize by a product and a sum of what is known before: as TensorFlow and Keras do."""
    deviation = x - _mean(x, "mean")
    variance = _mean(either(deviation * deviation, deviation**2.0), "variance")
    root = op.Sqrt(variance + epsilon)
    factor = either(scale / root, scale * op.Reciprocal(root), op.Reciprocal(root))
    mean, again = _mean(x, "same_mean"), factor.named("same_factor")
    shift = either(op.Neg(mean) * again + bias, bias - mean * again, op.Neg(mean) * again)
    return x * factor.named("factor") + shift


@rewrite(_factored)
def _factored_layer_normalization(m: Match) -> ir.Value:
    m.require(m.mean is m.same_mean and m.factor is m.same_factor, "it is not normalized alike")
    scale, bias = (getattr(m, name) if name in m else None for name in ("scale", "bias"))
    return _normalize(m, scale, bias)


def _over_root(x: Any, epsilon: Any) -> Any:
    square = either(x * x, x**2.0)
    root = op.Sqrt(_mean(square, "mean") + epsilon)
    return either(x / root, x * op.Reciprocal(root))


@rewrite(lambda x, epsilon, scale: _over_root(x, epsilon) * scale)
def _rms_normalization(m: Match) -> ir.Value:
    m.require(m.opset >= 23, "RMSNormalization needs opset 23")
    normalized, epsilon = _normalized_sizes(m, _axes(m.mean), m.scale)
    scale = _parameter(m, m.scale, normalized)
    result: ir.Value = m.op.RMSNormalization(m.x, scale, axis=-len(normalized), epsilon=epsilon)
    return result


fuse_normalization = apply_rules(
    [
        _layer_normalization,
        _layer_normalization_without_bias,
        _plain_layer_normalization,
        _factored_layer_normalization,
        _rms_normalization,
    ]
)
