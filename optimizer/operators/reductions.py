"""Reductions and normalizations: along axes that are named by an input or an attribute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce

import numpy as np
import onnx_ir as ir

from ..size_limits import greater_size, smaller_size
from ..size_products import multiply_sizes
from ..size_sums import add_sizes
from ..values import Size, attribute, integers, rank
from .orders import inverse, reorder_blocks, reorder_inputs, single_axes
from .record import (
    Contents,
    ContentsRule,
    Operator,
    Order,
    Read,
    Reordered,
    first_input,
    table,
)


def _reorder_reduce(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    axes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    size = rank(node.inputs[0])
    if not axes or size is None:
        return None
    axes = [axis % size for axis in axes]
    reordered = _without_axes(node, value, order, axes, size)
    if reordered is None:
        return None
    plan, moved = reordered
    plan.constants[1] = np.array(moved, np.int64)
    return plan


def _reorder_arg(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    size = rank(node.inputs[0])
    if size is None:
        return None
    axis = attribute(node, "axis", 0) % size
    reordered = _without_axes(node, value, order, [axis], size)
    if reordered is None:
        return None
    plan, moved = reordered
    plan.attributes["axis"] = ir.AttrInt64("axis", moved[0])
    return plan


def _without_axes(
    node: ir.Node, value: ir.Value, order: Order, axes: list[int], size: int
) -> tuple[Reordered, list[int]] | None:
    """Reorder a node that reduces axes, which the second result gives in the new order."""
    blocks = single_axes(size, () if attribute(node, "keepdims", 1) else axes)
    reordered = reorder_blocks(node, value, order, blocks)
    if reordered is None:
        return None
    plan, before, _ = reordered
    return plan, [inverse(before)[axis] for axis in axes]


def _reorder_softmax(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    plan = reorder_inputs(node, order, [0])
    if plan is None or rank(node.inputs[0]) != len(order):
        return None
    axis = order[attribute(node, "axis", -1) % len(order)]
    plan.attributes["axis"] = ir.AttrInt64("axis", axis)
    return plan


def _reorder_layer_normalization(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    """Reorder the axes in front of those that are normalized."""
    first = attribute(node, "axis", -1) % len(order)
    x = node.inputs[0]
    if x is None or order[first:] != tuple(range(first, len(order))):
        return None
    return Reordered({x: order, node.outputs[0]: order})


def _total(operate: Callable[[Size, Size], Size]) -> ContentsRule:
    """What a reduction makes of a vector of sizes."""

    def contents(node: ir.Node, read: Read) -> Contents | None:
        x, sizes = node.inputs[0], read(node.inputs[0])
        if x is None or x.dtype is None or x.dtype.is_floating_point():
            return None
        if sizes is None or sizes.ndim != 1 or not sizes.size:
            return None
        axes = node.inputs[1] if len(node.inputs) > 1 else None
        if axes is not None and not integers(axes):  # not known, or none: then it may do nothing
            return None
        if axes is None and attribute(node, "noop_with_empty_axes", 0):
            return None
        return table([reduce(operate, sizes)], (1,) if attribute(node, "keepdims", 1) else ())

    return contents


_REDUCE = Operator(reorder=_reorder_reduce)
_EXTREME = Operator(reorder=_reorder_reduce, carried=first_input)
_ARG = Operator(reorder=_reorder_arg)
_SOFTMAX = Operator(reorder=_reorder_softmax)

OPERATORS = {
    "ArgMax": _ARG,
    "ArgMin": _ARG,
    "LayerNormalization": Operator(reorder=_reorder_layer_normalization),
    "LogSoftmax": _SOFTMAX,
    "ReduceL1": _REDUCE,
    "ReduceL2": _REDUCE,
    "ReduceLogSum": _REDUCE,
    "ReduceLogSumExp": _REDUCE,
    "ReduceMax": replace(_EXTREME, contents=_total(greater_size)),
    "ReduceMean": _REDUCE,
    "ReduceMin": replace(_EXTREME, contents=_total(smaller_size)),
    "ReduceProd": replace(_REDUCE, holds_sizes="first", contents=_total(multiply_sizes)),
    "ReduceSum": replace(_REDUCE, contents=_total(add_sizes)),
    "ReduceSumSquare": _REDUCE,
    "Softmax": _SOFTMAX,
}
