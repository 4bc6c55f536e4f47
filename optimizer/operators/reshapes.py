"""Reshapes and Transpose: the same elements in another shape, or in another order of axes."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .. import intervals
from ..blocks import blocks, reshape_target
from ..size_products import quotient_of_sizes
from ..values import Size, are_axes, attribute, dims, integers, rank, static_shape
from .orders import inverse, reorder_blocks, single_axes
from .record import Contents, Operator, Order, Read, Reordered, first_input, table


def same_shape(node: ir.Node) -> ir.Value | None:
    """Return the first input if the result has its shape, all of it known by number or name."""
    x = node.inputs[0]
    before = None if x is None else dims(x)
    same = before is not None and None not in before and before == dims(node.outputs[0])
    return x if same else None


def _same_elements(node: ir.Node, read: Read) -> Contents | None:
    contents, shape = read(node.inputs[0]), static_shape(node.outputs[0])
    if contents is None:
        return None
    if shape is None and contents.size == 1:
        shape = {"Squeeze": (), "Unsqueeze": (1,)}.get(node.op_type)
    if shape is None or math.prod(shape) != contents.size:
        return None
    return contents.reshape(shape)


# --- Squeeze and Unsqueeze --------------------------------------------------------------------


def _reorder_squeeze(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    axes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    is_squeeze = node.op_type == "Squeeze"
    size = rank(node.inputs[0] if is_squeeze else node.outputs[0])
    if axes is None or size is None:
        return None
    axes = [axis % size for axis in axes]
    pairs = single_axes(size, axes)
    if not is_squeeze:
        pairs = [(after, before) for before, after in pairs]
    reordered = reorder_blocks(node, value, order, pairs)
    if reordered is None:
        return None
    plan, before, after = reordered
    indices = inverse(before if is_squeeze else after)
    plan.constants[1] = np.array(sorted(indices[axis] for axis in axes), np.int64)
    return plan


# --- Reshape and Flatten ----------------------------------------------------------------------


def _reorder_reshape(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    x, y = node.inputs[0], node.outputs[0]
    before, after = (None if v is None else dims(v) for v in (x, y))
    if before is None or after is None or 0 in before or 0 in after:
        return None
    reordered = reorder_blocks(node, value, order, blocks(before, after))
    if reordered is None:
        return None
    plan, old, new = reordered
    target = reshape_target([before[axis] for axis in old], [after[axis] for axis in new])
    if target is not None:
        plan.constants[1] = np.array(target, np.int64)
    elif len(node.inputs) > 1:
        plan.gathered[1] = new
        plan.sizes.add(1)
    else:
        return None
    plan.op_type, plan.attributes = "Reshape", dict.fromkeys(node.attributes)
    return plan


def _shape_of_reshape(node: ir.Node, target: Contents | None) -> list[Size] | None:
    if target is None:
        return None
    x = node.inputs[0]
    before = None if x is None else dims(x)
    copies = not attribute(node, "allowzero", 0)
    after: list[Size] = list(target.reshape(-1))
    for axis, size in enumerate(after):
        if size == 0 and copies:
            after[axis] = before[axis] if before is not None and axis < len(before) else None
    stated = [size for size in after if size != -1]
    open_size = None if before is None else quotient_of_sizes(before, stated)
    return [open_size if size == -1 else size for size in after]


# --- Squeeze and Unsqueeze --------------------------------------------------------------------


def _named_axes(node: ir.Node) -> list[int] | None:
    """Axes that a node names, in an attribute or an input."""
    if len(node.inputs) > 1:
        return integers(node.inputs[1])
    axes = node.attributes.get("axes")
    return None if axes is None else list(axes.as_ints())


def _shape_of_squeeze(node: ir.Node, _: Contents | None) -> list[Size] | None:
    x, axes = node.inputs[0], _named_axes(node)
    sizes = None if x is None else dims(x)
    if sizes is None or axes is None:
        return None
    rank, others = len(sizes), iter(sizes)
    if node.op_type == "Unsqueeze":
        rank += len(axes)
    if not are_axes(axes, rank):
        return None
    if node.op_type == "Squeeze":
        gone = {axis % rank for axis in axes}
        return [size for axis, size in enumerate(sizes) if axis not in gone]
    added = {axis % rank for axis in axes}
    return [1 if axis in added else next(others, None) for axis in range(rank)]


# --- Transpose and Shape ----------------------------------------------------------------------


def _sorted(node: ir.Node) -> ir.Value | None:
    order = node.attributes.get("perm")
    same = order is not None and list(order.as_ints()) == sorted(order.as_ints())
    return node.inputs[0] if same else None


def _shape_of_transpose(node: ir.Node, _: Contents | None) -> list[Size] | None:
    order, x = node.attributes.get("perm"), node.inputs[0]
    sizes = None if x is None else dims(x)
    if sizes is None:
        return None
    axes = range(len(sizes))[::-1] if order is None else order.as_ints()
    return [sizes[axis] for axis in axes] if sorted(axes) == list(range(len(sizes))) else None


def _shape(node: ir.Node, read: Read) -> Contents | None:
    x = node.inputs[0]
    sizes = None if x is None else dims(x)
    if sizes is None:
        return None
    return table(sizes[attribute(node, "start", 0) : attribute(node, "end", len(sizes))])


def _size(node: ir.Node, read: Read) -> Contents | None:
    sizes = None if node.inputs[0] is None else static_shape(node.inputs[0])
    return None if sizes is None else table([math.prod(sizes)], ())


_SQUEEZE = Operator(
    reshape=True,
    holds_sizes="first",
    reorder=_reorder_squeeze,
    shape=_shape_of_squeeze,
    contents=_same_elements,
    interval=intervals.of_first,
    unchanged=same_shape,
    carried=first_input,
)

OPERATORS = {
    "Flatten": Operator(
        reshape=True,
        reorder=_reorder_reshape,
        interval=intervals.of_first,
        unchanged=same_shape,
        carried=first_input,
    ),
    "Reshape": Operator(
        reshape=True,
        shape_input=1,
        reorder=_reorder_reshape,
        shape=_shape_of_reshape,
        contents=_same_elements,
        interval=intervals.of_first,
        unchanged=same_shape,
        carried=first_input,
    ),
    "Shape": Operator(contents=_shape),
    "Size": Operator(contents=_size),
    "Squeeze": _SQUEEZE,
    "Transpose": Operator(
        shape=_shape_of_transpose,
        interval=intervals.of_first,
        unchanged=_sorted,
        carried=first_input,
    ),
    "Unsqueeze": _SQUEEZE,
}
