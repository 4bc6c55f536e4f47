"""Activations move before the reshapes and transposes between them and a convolution or product.

A function of each element does not care where the element lies; right behind the convolution it
is computed while the result is in registers or in cache, instead of in a pass of its own.
"""

from __future__ import annotations

import onnx_ir as ir

from .operators import lookup
from .report import Report
from .values import can_replace, constant, insert, replace, used_once


def hoist_activations(model: ir.Model, report: Report) -> int:
    """Move activations next to what computes their input; returns the number moved."""
    return sum(_hoist(node, report) for graph in model.graphs() for node in list(graph))


def _hoist(node: ir.Node, report: Report) -> bool:
    if not lookup(node).activation or len(node.outputs) != 1:
        return False
    if any(limit is not None and constant(limit) is None for limit in node.inputs[1:]):
        return False
    after = node.inputs[0]
    first = _first_view(node, after)
    if first is None or after is None or not can_replace(node, after):
        return False
    source = first.inputs[0]
    assert source is not None
    moved = ir.node(
        node.op_type, [source, *node.inputs[1:]], dict(node.attributes), name=f"{node.name}.moved"
    )
    result = moved.outputs[0]
    result.name, result.shape, result.type = f"{source.name}.activated", source.shape, source.type
    insert(first, [moved])
    first.replace_input_with(0, result)
    producer = source.producer()
    assert producer is not None
    report.explain(f"{node.op_type} {node.name!r} moved behind {producer.name!r}")
    return replace(node, after)


def _first_view(node: ir.Node, value: ir.Value | None) -> ir.Node | None:
    """First of the views between a convolution or product and a node, used nowhere else."""
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
