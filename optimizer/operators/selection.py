"""Selections: results whose elements are some of those of the first input."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from .. import intervals
from ..size_limits import limit_size
from ..values import Size, are_axes, attribute, constant, dims, integers, rank
from .orders import inverse, reorder_blocks, reorder_inputs, reorder_with_axes, single_axes
from .record import Contents, Operator, Order, Read, Reordered, first_input
from .reshapes import same_shape

WHOLE = 2**31 - 1  # an end that no axis reaches


# --- Gather and Split -------------------------------------------------------------------------


def _reorder_gather(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    """Reorder a Gather, whose axis is gone where there is a single index."""
    size, indices = rank(node.inputs[0]), constant(node.inputs[1])
    if size is None or indices is None or indices.ndim > 1:
        return None
    axis = attribute(node, "axis", 0) % size
    blocks = single_axes(size, [axis] if indices.ndim == 0 else [])
    reordered = reorder_blocks(node, value, order, blocks)
    if reordered is None:
        return None
    plan, before, _ = reordered
    plan.attributes["axis"] = ir.AttrInt64("axis", inverse(before)[axis])
    return plan


def _shape_of_gather(node: ir.Node, target: Contents | None) -> list[Size] | None:
    sizes, indices = (None if x is None else dims(x) for x in node.inputs)
    if not sizes or indices is None:
        return None
    axis = attribute(node, "axis", 0) % len(sizes)
    return [*sizes[:axis], *indices, *sizes[axis + 1 :]]


def _gather(node: ir.Node, read: Read) -> Contents | None:
    contents, indices = read(node.inputs[0]), constant(node.inputs[1])
    if contents is None or indices is None or contents.ndim != 1 or indices.ndim > 1:
        return None
    if (np.abs(indices + 0.5) > contents.size).any():
        return None
    return np.array(contents[indices], object)


def _reorder_split(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    plan = reorder_inputs(node, order, [0])
    if plan is None or rank(node.inputs[0]) != len(order):
        return None
    axis = order[attribute(node, "axis", 0) % len(order)]
    plan.attributes["axis"] = ir.AttrInt64("axis", axis)
    return plan


# --- Slice ------------------------------------------------------------------------------------


def _reorder_slice(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    return reorder_with_axes(node, 3, order) if len(node.inputs) > 3 else None


def _shape_of_slice(node: ir.Node, target: Contents | None) -> list[Size] | None:
    """Count elements between numbers; keep what is taken as a whole, limit what begins in front."""
    sizes = None if node.inputs[0] is None else dims(node.inputs[0])
    starts, _, axes, steps = [*(integers(value) for value in node.inputs[1:]), *[None] * 4][:4]
    if not sizes or axes is None or not are_axes(axes, len(sizes)):
        return None
    ends = [None] * len(axes) if target is None else list(target.reshape(-1))
    steps = [1] * len(axes) if len(node.inputs) < 5 else steps or [0] * len(axes)
    result = list(sizes)
    for axis, start, end, step in zip(axes, starts or [1] * len(axes), ends, steps, strict=True):
        size = sizes[axis]
        if isinstance(size, int) and isinstance(end, int) and starts is not None and step:
            result[axis] = len(range(size)[slice(start, end, step)])
        else:
            result[axis] = _up_to(end, size) if start == 0 and step == 1 else None
    return result


def _up_to(end: Size, size: Size) -> Size:
    """Size of what ends at an index of an axis, None where it has no name."""
    if end == size or (isinstance(end, int) and end >= WHOLE):
        return size
    return limit_size(end, size)


def _slice(node: ir.Node, read: Read) -> Contents | None:
    contents = read(node.inputs[0])
    limits = [integers(value) for value in node.inputs[1:]]
    if contents is None or contents.ndim != 1 or len(limits) < 2:
        return None
    if any(item is None or len(item) != 1 for item in limits):
        return None
    numbers = [item[0] for item in limits if item is not None]
    step = numbers[3] if len(numbers) > 3 else 1
    return contents[slice(numbers[0], numbers[1], step)] if step > 0 else None


def _slice_of_all(node: ir.Node) -> ir.Value | None:
    """Return the input of a Slice from the front that reaches the end of every axis."""
    x = node.inputs[0]
    if x is None or len(node.inputs) < 3:  # before opset 10 the limits were attributes
        return None
    starts, ends, axes, steps = [*(integers(value) for value in node.inputs[1:]), None, None][:4]
    if len(node.inputs) > 4 and node.inputs[4] is not None and steps is None:
        return None
    if starts is None or any(starts) or any(s != 1 for s in steps or ()):
        return None
    if ends is None:
        return same_shape(node)
    if axes is None and len(node.inputs) > 3 and node.inputs[3] is not None:
        reached = all(end >= WHOLE for end in ends)
    else:
        axes = list(range(len(ends))) if axes is None else axes
        reached = all(_reaches(end, axis, x) for end, axis in zip(ends, axes, strict=True))
    return x if reached else same_shape(node)


def _reaches(end: int, axis: int, x: ir.Value) -> bool:
    """Tell whether an end is that of the axis, whatever its size."""
    sizes = dims(x)
    if sizes is not None and not are_axes([axis], len(sizes)):
        return False
    if end >= WHOLE or sizes is None:
        return end >= WHOLE
    size = sizes[axis]
    if isinstance(size, int):
        return end >= size
    # Some exporters mean 1e9: with the other axes, that would be more than can be addressed.
    elements = math.prod(each for each in sizes if isinstance(each, int))
    elements *= end ** (sizes.count(size) - 1) if size is not None else 1
    if x.dtype is None or x.dtype == ir.DataType.STRING:
        return False
    return end * elements * x.dtype.itemsize >= 2**48


OPERATORS = {
    "DepthToSpace": Operator(carried=first_input),
    "Gather": Operator(
        holds_sizes="first",
        reorder=_reorder_gather,
        shape=_shape_of_gather,
        contents=_gather,
        interval=intervals.of_first,
        carried=first_input,
    ),
    "GatherElements": Operator(interval=intervals.of_first, carried=first_input),
    "GatherND": Operator(interval=intervals.of_first, carried=first_input),
    "Slice": Operator(
        holds_sizes="first",
        shape_input=2,
        reorder=_reorder_slice,
        shape=_shape_of_slice,
        contents=_slice,
        interval=intervals.of_first,
        unchanged=_slice_of_all,
        carried=first_input,
    ),
    "SpaceToDepth": Operator(carried=first_input),
    "Split": Operator(reorder=_reorder_split, carried=first_input),
}
