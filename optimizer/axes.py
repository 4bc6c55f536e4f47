"""Axes of a node in another order: whether it can be computed so, and what changes in it."""

from __future__ import annotations

import onnx_ir as ir

from .operators import lookup
from .operators.orders import reorder_inputs
from .operators.record import Order, Reordered
from .sizes import are_sizes
from .values import rank


def reorder(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    """Return what changes in a node when one of its values has another order of axes.

    None if the node cannot be computed so.
    """
    operator = lookup(node)
    if rank(value) != len(order):
        return None
    if operator.elementwise:
        plan = reorder_inputs(node, order, range(len(node.inputs)))
    else:
        plan = None if operator.reorder is None else operator.reorder(node, value, order)
    if plan is None or plan.orders.get(value) != order:
        return None
    if not all(are_sizes(node.inputs[index]) for index in plan.sizes):
        return None
    left = [y for y in node.outputs if y not in plan.orders]
    return None if any(y.uses() or y.is_graph_output() for y in left) else plan
