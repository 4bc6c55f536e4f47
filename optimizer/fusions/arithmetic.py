"""Chains of Mul and Add by constants: at most one of each is left."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, NearMiss, apply_rules, fixed, op, rewrite
from ..values import rank

_LIMIT = 1 << 16
_LEAST = float(np.finfo(np.float32).tiny)


def _constants(m: Match, *names: str) -> list[np.ndarray]:
    arrays = [m.constant(name) for name in names]
    m.require(all(a.dtype == np.float32 for a in arrays), "they are not float32")
    return arrays


def _combined(m: Match, function: np.ufunc, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Combine two constants unless that makes a much larger one."""
    size = np.broadcast(a, b).size
    m.require(size <= max(a.size, b.size, _LIMIT), "the combined constant is too large")
    with np.errstate(all="ignore"):
        result: np.ndarray = function(a, b)
    if not np.isfinite(result).all():
        raise NearMiss("the combined constant is not finite")
    if function is np.multiply:
        lost = (np.abs(result) < _LEAST) & (a != 0) & (b != 0)
        m.require(not lost.any(), "the combined constant is too small for float32")
    return result


@rewrite(lambda x, a, b: (x * fixed(a)) * fixed(b))
def _mul_mul(m: Match) -> ir.Value:
    a, b = _constants(m, "a", "b")
    return m.op.Mul(m.x, _combined(m, np.multiply, a, b))


@rewrite(lambda x, a, b: (x + fixed(a)) + fixed(b))
def _add_add(m: Match) -> ir.Value:
    a, b = _constants(m, "a", "b")
    return m.op.Add(m.x, _combined(m, np.add, a, b))


@rewrite(lambda x, a, b, c: (x * fixed(a) + fixed(b)) * fixed(c))
def _mul_add_mul(m: Match) -> ir.Value:
    a, b, c = _constants(m, "a", "b", "c")
    scaled = m.op.Mul(m.x, _combined(m, np.multiply, a, c))
    return m.op.Add(scaled, _combined(m, np.multiply, b, c))


@rewrite(lambda x: 1.0 / x)
def _reciprocal(m: Match) -> ir.Value:
    m.require(m.x.dtype == ir.DataType.FLOAT, "it is not float32")
    same = rank(m.root.outputs[0]) is not None and rank(m.root.outputs[0]) == rank(m.x)
    m.require(same, "the result has another rank")
    return m.op.Reciprocal(m.x)


@rewrite(lambda x, y: y * op.Reciprocal(x))
def _mul_reciprocal(m: Match) -> ir.Value:
    return m.op.Div(m.y, m.x)


fold_arithmetic = apply_rules([_mul_add_mul, _mul_mul, _add_add, _mul_reciprocal, _reciprocal])
