"""Softmax written out, and that of old opsets, which flattened its input."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir

from ..rewrite import Match, apply_rules, op, rewrite
from ..values import attribute, dims, integers, rank


@rewrite(
    lambda x: op.Reshape(op.Softmax(op.Flatten(x).named("flat")).named("softmax"), ...),
    lambda x: op.Reshape(op.LogSoftmax(op.Flatten(x).named("flat")).named("softmax"), ...),
)
def _softmax(m: Match) -> ir.Value:
    flatten, softmax = m.flat.producer(), m.softmax.producer()
    assert flatten is not None and softmax is not None
    sizes = dims(m.x)
    m.require(sizes is not None and sizes == dims(m.root.outputs[0]), "the shape is another one")
    axis = attribute(flatten, "axis", 1) % len(sizes or [1])
    m.require(attribute(softmax, "axis", -1) in (-1, 1), "it is along the first axis")
    m.require(all(size == 1 for size in (sizes or [])[axis + 1 :]), "later sizes are not all 1")
    made: ir.Value = getattr(m.op, softmax.op_type)(m.x, axis=axis)
    return made


def _shifted(x: Any) -> Any:
    """Subtract the largest; without that, large numbers overflow where Softmax does not."""
    return x - op.ReduceMax(x, ...).named("largest")


def _summed(x: Any) -> Any:
    return op.ReduceSum(op.Exp(_shifted(x)), ...).named("total")


def _axis(m: Match) -> int:
    """Return the one axis that both reductions keep."""
    m.require(m.opset >= 13, "Softmax is along one axis since opset 13")
    axes, size = [], rank(m.x)
    m.require(size is not None, "the rank is not known")
    for value in (m.largest, m.total):
        node = value.producer()
        assert node is not None
        m.require(bool(attribute(node, "keepdims", 1)), "a reduction drops its axis")
        if "axes" in node.attributes:
            found = list(node.attributes["axes"].as_ints())
        else:
            found = (integers(node.inputs[1]) if len(node.inputs) > 1 else None) or []
        m.require(len(found) == 1, "a reduction is not over one constant axis")
        axes.append(found[0] % (size or 1))
    m.require(axes[0] == axes[1], "the reductions are along different axes")
    return axes[0]


@rewrite(lambda x: op.Exp(_shifted(x)) / _summed(x))
def _written_softmax(m: Match) -> ir.Value:
    return m.op.Softmax(m.x, axis=_axis(m))


@rewrite(lambda x: _shifted(x) - op.Log(_summed(x)))
def _written_log_softmax(m: Match) -> ir.Value:
    return m.op.LogSoftmax(m.x, axis=_axis(m))


simplify_softmax = apply_rules([_softmax, _written_softmax, _written_log_softmax])
