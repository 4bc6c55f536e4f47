"""Activations written out in simpler operators: HardSigmoid, HardSwish, Swish, Mish, Gelu, Clip."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, apply_rules, either, fixed, op, rewrite
from ..values import dims, scalar

_SIXTH = 1 / 6


def _relu6(x: Any) -> Any:
    return op.Clip(x + 3.0, 0.0, 6.0)


def _erf_term(x: Any) -> Any:
    """1 + erf(x / sqrt 2), which is erfc(-x / sqrt 2) = 1 - erf(-x / sqrt 2), too (TensorFlow)."""
    minus = op.Neg(x)
    inner = either(x / math.sqrt(2), x * math.sqrt(0.5))
    negated = either(
        minus / math.sqrt(2), minus * math.sqrt(0.5), op.Neg(inner),
        x / -math.sqrt(2), x * -math.sqrt(0.5),
    )  # fmt: skip
    return either(1.0 + op.Erf(inner), 1.0 - op.Erf(negated))


def _tanh_term(x: Any) -> Any:
    cube = either(x**3.0, x * x * x, x * (x * x))
    # in the order of JAX: x * (x * (0.044715 * x))
    cubic = either(0.044715 * cube, x * (x * (0.044715 * x)))
    inner = math.sqrt(2 / math.pi) * (x + cubic)
    # x * (1 + 0.044715 x^2), as some exporters have it
    factored = math.sqrt(2 / math.pi) * (x * (1.0 + 0.044715 * either(x**2.0, x * x)))
    return 1.0 + op.Tanh(either(inner, factored))


@rewrite(lambda x: _relu6(x) / 6.0, lambda x: _relu6(x) * _SIXTH)
def _hard_sigmoid(m: Match) -> ir.Value:
    m.require(m.x.dtype == ir.DataType.FLOAT, "it is not float32")
    return m.op.HardSigmoid(m.x, alpha=_SIXTH, beta=0.5)


@rewrite(
    lambda x: x * op.HardSigmoid(x).named("gate"),
    lambda x: (x * _relu6(x)) / 6.0,
    lambda x: (x * _relu6(x)) * _SIXTH,
)
def _hard_swish(m: Match) -> ir.Value:
    m.require(m.opset >= 14, "HardSwish needs opset 14")
    m.require(m.x.dtype == ir.DataType.FLOAT, "it is not float32")
    if "gate" in m:
        node = m.gate.producer()
        assert node is not None
        alpha = node.attributes["alpha"].as_float() if "alpha" in node.attributes else 0.2
        beta = node.attributes["beta"].as_float() if "beta" in node.attributes else 0.5
        same = math.isclose(alpha, _SIXTH, rel_tol=1e-5) and beta == 0.5
        m.require(same, "the gate is not x / 6 + 0.5")
    return m.op.HardSwish(m.x)


@rewrite(lambda x: x * op.Sigmoid(x), lambda x, alpha: x * op.Sigmoid(x * alpha))
def _swish(m: Match) -> ir.Value:
    m.require(m.opset >= 24, "Swish needs opset 24")
    if "alpha" not in m:
        return m.op.Swish(m.x)
    alpha = scalar(m.alpha)
    m.require(alpha is not None, "the factor is not a constant number")
    return m.op.Swish(m.x, alpha=alpha)


@rewrite(lambda x: x * op.Tanh(op.Softplus(x)))
def _mish(m: Match) -> ir.Value:
    m.require(m.opset >= 18, "Mish needs opset 18")
    return m.op.Mish(m.x)


@rewrite(
    lambda x: (x * _erf_term(x)) * 0.5,
    lambda x: x * (_erf_term(x) * 0.5),
    lambda x: (x * 0.5) * _erf_term(x),
)
def _gelu(m: Match) -> ir.Value:
    m.require(m.opset >= 20, "Gelu needs opset 20")
    return m.op.Gelu(m.x)


@rewrite(
    lambda x: (x * _tanh_term(x)) * 0.5,
    lambda x: x * (_tanh_term(x) * 0.5),
    lambda x: (x * 0.5) * _tanh_term(x),
)
def _gelu_tanh(m: Match) -> ir.Value:
    m.require(m.opset >= 20, "Gelu needs opset 20")
    return m.op.Gelu(m.x, approximate="tanh")


@rewrite(lambda x, low, high: op.Clip(op.Relu(x), low, high))
def _relu_clip(m: Match) -> ir.Value:
    low = scalar(m.low)
    m.require(low is not None, "the lower limit is not constant")
    assert low is not None
    dtype = m.constant("low").dtype
    return m.op.Clip(m.x, np.array(max(low, 0.0), dtype), m.high)


@rewrite(lambda c, a, b: op.Where(op.Not(c), a, b))
def _where_not(m: Match) -> ir.Value:
    return m.op.Where(m.c, m.b, m.a)


@rewrite(lambda one, m, a, b: op.Where(op.And(op.Expand(fixed(one), ...).named("all"), m), a, b))
def _where_all(m: Match) -> ir.Value:
    """A condition that Keras spreads over all elements, though Where broadcasts it anyway."""
    sizes = dims(m.a)
    m.require(bool(m.constant("one").all()), "the other condition is not true everywhere")
    same = sizes is not None and None not in sizes and sizes == dims(m.all)
    m.require(same, "it is not known to have the shape of the result")
    return m.op.Where(m.m, m.a, m.b)


fuse_activations = apply_rules(
    [
        _gelu,
        _gelu_tanh,
        _hard_swish,
        _hard_sigmoid,
        _swish,
        _mish,
        _relu_clip,
        _where_not,
        _where_all,
    ]
)
