"""Hoisting of activations: they move in front of reshapes, next to a convolution or product.

An elementwise function gives the same before and after a reshape or Transpose; right behind the
convolution it is computed while the result is in registers or in cache.
"""

from __future__ import annotations

import onnx_ir as ir

from .edits import can_replace, insert, replace
from .operators import lookup
from .report import Report
from .values import constant, graphs, used_once


def hoist_activations(model: ir.Model, report: Report) -> int:
    """Move activations next to convolutions and products; returns the number moved."""
    return sum(_hoist(node, report) for graph in graphs(model) for node in list(graph))


def _hoist(node: ir.Node, report: Report) -> bool:
    if not lookup(node).activation or len(node.outputs) != 1:
        return False
    if any(limit is not None and constant(limit) is None for limit in node.inputs[1:]):
        return False
    after = node.inputs[0]
    first = _first_reshape(node, after)
    if first is None or after is None or not can_replace(node, after):
        return False
    source = first.inputs[0]
    assert source is not None
    activation = ir.node(
        node.op_type, [source, *node.inputs[1:]], dict(node.attributes), name=f"{node.name}.moved"
    )
    result = activation.outputs[0]
    result.name, result.shape, result.type = f"{source.name}.activated", source.shape, source.type
    insert(first, [activation])
    first.replace_input_with(0, result)
    producer = source.producer()
    assert producer is not None
    report.explain(f"{node.op_type} {node.name!r} moved behind {producer.name!r}")
    return replace(node, after)


def _first_reshape(node: ir.Node, value: ir.Value | None) -> ir.Node | None:
    """First of the reshapes between a convolution or product and a node, used nowhere else."""
    first = None
    while value is not None and used_once(value):
        producer = value.producer()
        if producer is None or producer.domain or producer.graph is not node.graph:
            return None
        operator = lookup(producer)
        if operator.product:
            return first
        if not operator.reshape and producer.op_type != "Transpose":
            return None
        first, value = producer, producer.inputs[0]
    return None
