"""Orders of axes: helpers of the rules that reorder the axes of a node."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..blocks import Block, carry
from ..values import constant, dims, rank
from .record import Order, Reordered


def inverse(order: Sequence[int]) -> Order:
    """Return the inverse permutation: of an order the axes as they come, or the order of these."""
    return tuple(order.index(axis) for axis in range(len(order)))


def reorder_inputs(node: ir.Node, order: Order, indices: Sequence[int]) -> Reordered | None:
    """Reorder inputs that broadcast to the axes of the order, and all outputs."""
    plan = Reordered({})
    for index in indices:
        value = node.inputs[index]
        contents = constant(value)
        if value is None or rank(value) == 0:
            continue
        if contents is not None:
            if contents.ndim > len(order):
                return None
            if contents.size > 1:
                full = contents.reshape((1,) * (len(order) - contents.ndim) + contents.shape)
                plan.constants[index] = np.transpose(full, inverse(order))
            continue
        if rank(value) != len(order):
            return None
        plan.orders[value] = order
    plan.orders.update(dict.fromkeys(node.outputs, order))
    return plan


def reorder_blocks(
    node: ir.Node, value: ir.Value, order: Order, blocks: Sequence[Block]
) -> tuple[Reordered, Order, Order] | None:
    """Reorder a node whose result has, block by block, the axes of the first input.

    Returns
    -------
    (Reordered, Order, Order) or None
        The plan, and the axes of the input and of the output as they come.
    """
    x, y = node.inputs[0], node.outputs[0]
    old, new = rank(x), rank(y)
    if x is None or old is None or new is None or x is y:
        return None
    layout = inverse(order)
    backwards = [(after, before) for before, after in blocks]
    carried = carry(layout, blocks, new) if value is x else carry(layout, backwards, old)
    if carried is None:
        return None
    before, after = (layout, carried) if value is x else (carried, layout)
    return Reordered({x: inverse(before), y: inverse(after)}), before, after


def single_axes(rank: int, without: Sequence[int] = ()) -> list[Block]:
    """Blocks of single axes, of which some have none behind the operator."""
    left = [axis for axis in range(rank) if axis not in without]
    return [((axis,), (index,)) for index, axis in enumerate(left)]


def reorder_with_axes(node: ir.Node, index: int, order: Order) -> Reordered | None:
    """Reorder the first input and the outputs of a node that names axes in another input."""
    plan, axes = reorder_inputs(node, order, [0]), constant(node.inputs[index])
    if plan is None or axes is None:
        return None
    reordered = [order[axis % len(order)] for axis in axes.reshape(-1).tolist()]
    plan.constants[index] = np.array(reordered, axes.dtype)  # other limits have that type, too
    return plan


def reorder_numbers(node: ir.Node, order: Order) -> Reordered | None:
    """Reorder a node whose inputs behind the first hold a number for each axis."""
    plan = reorder_inputs(node, order, [0])
    if plan is None or "axes" in node.attributes:
        return None
    for index, numbers in enumerate(node.inputs[1:], 1):
        contents = constant(numbers)
        if numbers is None or (contents is not None and contents.size == 0):
            continue
        if node.op_type == "Expand" and dims(numbers) == [len(order)]:
            plan.gathered[index] = inverse(order)
            continue
        if contents is None or contents.shape != (len(order),):
            return None
        plan.constants[index] = contents[list(inverse(order))]
    return plan
