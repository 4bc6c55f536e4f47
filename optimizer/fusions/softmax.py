"""Softmax written out, and Softmax of old opsets, which flattened its input."""

from __future__ import annotations

import math
from typing import Any

import onnx_ir as ir

from ..rewrite import Match, NearMiss, apply_rules, either, op, rewrite
from ..values import attribute, axes_of, dims


@rewrite(
    lambda x: op.Reshape(op.Softmax(op.Flatten(x).named("flat")).named("softmax"), ...),
    lambda x: op.Reshape(op.LogSoftmax(op.Flatten(x).named("flat")).named("softmax"), ...),
)
def _softmax(m: Match) -> ir.Value:
    flatten, softmax = m.flat.producer(), m.softmax.producer()
    assert flatten is not None and softmax is not None
    sizes = m.sizes(m.x)
    m.require(sizes == dims(m.root.outputs[0]), "the shape of the result is another one")
    m.require(bool(sizes), "it is a scalar")
    axis = attribute(flatten, "axis", 1) % len(sizes)
    m.require(attribute(softmax, "axis", -1) in (-1, 1), "it is along the first axis")
    m.require(all(size == 1 for size in sizes[axis + 1 :]), "later sizes are not all 1")
    result: ir.Value = getattr(m.op, softmax.op_type)(m.x, axis=axis)
    return result


def _kept(reduced: Any, name: str) -> Any:
    """Give a reduction its axis back, if it has dropped it."""
    return either(reduced, op.Reshape(reduced, ...), op.Unsqueeze(reduced, ...)).named(name)


def _shifted(x: Any) -> Any:
    """Subtract the largest; without that, large numbers overflow where Softmax does not."""
    largest = op.ReduceMax(x, ...).named("largest")
    return x - _kept(either(largest, op.Max(-math.inf, largest)), "kept_largest")  # as JAX has it


def _summed(x: Any) -> Any:
    return _kept(op.ReduceSum(op.Exp(_shifted(x)), ...).named("total"), "kept_total")


def _axis(m: Match) -> int:
    """Return the one axis that both reductions are along."""
    m.require(m.opset >= 13, "Softmax is along one axis since opset 13")
    axes, sizes = [], m.sizes(m.x)
    m.require(bool(sizes), "it is a scalar")
    for reduced, kept in ((m.largest, m.kept_largest), (m.total, m.kept_total)):
        node = reduced.producer()
        assert node is not None
        reduced_axes = axes_of(node)
        if reduced_axes is None or len(reduced_axes) != 1:
            raise NearMiss("a reduction is not over one constant axis")
        axis = reduced_axes[0] % len(sizes)
        single = [*sizes[:axis], 1, *sizes[axis + 1 :]]
        same = dims(kept) == single and None not in single
        unchanged = kept is reduced and bool(attribute(node, "keepdims", 1))
        m.require(unchanged or same, "a reduction drops its axis")
        axes.append(axis)
    m.require(axes[0] == axes[1], "the reductions are along different axes")
    return axes[0]


@rewrite(lambda x: op.Exp(_shifted(x)) / _summed(x))
def _written_softmax(m: Match) -> ir.Value:
    return m.op.Softmax(m.x, axis=_axis(m))


@rewrite(lambda x: _shifted(x) - op.Log(_summed(x)))
def _written_log_softmax(m: Match) -> ir.Value:
    return m.op.LogSoftmax(m.x, axis=_axis(m))


simplify_softmax = apply_rules([_softmax, _written_softmax, _written_log_softmax])
