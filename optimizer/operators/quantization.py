"""Quantization: constants stay quantized, or become so, with one scale or one along an axis."""

from __future__ import annotations

import onnx_ir as ir

from ..values import attribute, rank
from .orders import reorder_inputs
from .record import Operator, Order, Reordered


def _reorder(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    scale = node.inputs[1]
    if rank(scale) not in (0, 1) or attribute(node, "block_size", 0):
        return None
    plan = reorder_inputs(node, order, [0])
    if plan is not None and rank(scale) == 1:
        axis = order[attribute(node, "axis", 1) % len(order)]
        plan.attributes["axis"] = ir.AttrInt64("axis", axis)
    return plan


OPERATORS = {
    "DequantizeLinear": Operator(foldable=False, reorder=_reorder),
    "QuantizeLinear": Operator(reorder=_reorder),
}
