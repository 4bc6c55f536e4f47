"""Softmax of old opsets, which flattened its input: without the reshapes where sizes of 1 allow."""

from __future__ import annotations

import onnx_ir as ir

from ..rewrite import Match, apply_rules, op, rewrite
from ..values import attribute, dims


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


simplify_softmax = apply_rules([_softmax])
