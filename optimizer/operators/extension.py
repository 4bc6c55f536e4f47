"""Extensions: results that are joined of several inputs, or larger than the first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .. import intervals
from ..size_products import multiply_sizes
from ..values import Size, attribute, dims, integers, rank, scalar
from .broadcasting import broadcast_sizes
from .elementwise import only_operand
from .orders import inverse, reorder_inputs, reorder_numbers, reorder_with_axes
from .record import Contents, Operator, Order, Read, Reordered, all_inputs, first_input
from .reshapes import same_shape

# --- Concat and Pad ---------------------------------------------------------------------------


def _reorder_concat(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    plan = reorder_inputs(node, order, range(len(node.inputs)))
    if plan is None or any(rank(x) != len(order) for x in node.inputs):
        return None
    axis = order[attribute(node, "axis", 0) % len(order)]
    plan.attributes["axis"] = ir.AttrInt64("axis", axis)
    return plan


def _concat(node: ir.Node, read: Read) -> Contents | None:
    parts = [read(value) for value in node.inputs]
    vectors = [part for part in parts if part is not None and part.ndim == 1]
    return np.concatenate(vectors) if len(vectors) == len(parts) else None


def _reorder_pad(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    pads = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    if pads is None:
        return None
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return reorder_with_axes(node, 3, order)
    plan = reorder_inputs(node, order, [0])
    if plan is not None:
        both = np.array(pads, np.int64).reshape(2, len(order))
        plan.constants[1] = both[:, inverse(order)].reshape(-1)
    return plan


def _padded(node: ir.Node) -> Sequence[int]:
    """Return the tensor, and the number around it in the mode that has one."""
    mode = node.attributes.get("mode")
    return (0, 2) if mode is None or mode.as_string() == "constant" else (0,)


def _no_pads(node: ir.Node) -> ir.Value | None:
    pads = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    return node.inputs[0] if pads is not None and not any(pads) else None


# --- Expand, Tile, Resize and Range -----------------------------------------------------------


def _nearest(node: ir.Node) -> Sequence[int]:
    """Return the tensor where elements are taken, not weighed, and none from outside."""
    modes = ("mode", "nearest"), ("coordinate_transformation_mode", "half_pixel")
    mode, places = (
        node.attributes[name].as_string() if name in node.attributes else default
        for name, default in modes
    )
    return (0,) if mode == "nearest" and places != "tf_crop_and_resize" else ()


def _reorder_numbers(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    return reorder_numbers(node, order)


def _reorder_resize(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    """Reorder spatial axes only: runtimes resize the last axes, and hardly any other."""
    plan = reorder_numbers(node, order)
    scales = None if plan is None else plan.constants.get(2)
    return plan if scales is not None and (scales[:2] == 1).all() else None


def _shape_of_expand(node: ir.Node, target: Contents | None) -> list[Size] | None:
    x = node.inputs[0]
    if target is None or target.ndim != 1 or x is None:
        return None
    return broadcast_sizes([dims(x), list(target)])


def _shape_of_tile(node: ir.Node, target: Contents | None) -> list[Size] | None:
    """Multiply each axis by the number of its repetitions."""
    sizes = None if node.inputs[0] is None else dims(node.inputs[0])
    if sizes is None or target is None or target.size != len(sizes):
        return None
    return [multiply_sizes(size, count) for size, count in zip(sizes, target.flat, strict=True)]


def _shape_of_filled(node: ir.Node, target: Contents | None) -> list[Size] | None:
    return None if target is None or target.ndim != 1 else list(target)


def _shape_of_range(node: ir.Node, target: Contents | None) -> list[Size] | None:
    """Number of elements of a Range from 0 in steps of 1."""
    if target is None or [scalar(node.inputs[i]) for i in (0, 2)] != [0, 1]:
        return None
    return list(target.reshape(-1))


OPERATORS = {
    "Concat": Operator(
        holds_sizes="all",
        reorder=_reorder_concat,
        contents=_concat,
        interval=intervals.union,
        unchanged=only_operand,
        carried=all_inputs,
    ),
    "ConstantOfShape": Operator(shape_input=0, shape=_shape_of_filled),
    "Expand": Operator(
        shape_input=1,
        reorder=_reorder_numbers,
        shape=_shape_of_expand,
        interval=intervals.of_first,
        unchanged=same_shape,
        carried=first_input,
    ),
    "Pad": Operator(reorder=_reorder_pad, unchanged=_no_pads, carried=_padded),
    "Range": Operator(shape_input=1, shape=_shape_of_range),
    "Resize": Operator(reorder=_reorder_resize, carried=_nearest),
    "Tile": Operator(
        shape_input=1,
        reorder=_reorder_numbers,
        shape=_shape_of_tile,
        interval=intervals.of_first,
        unchanged=same_shape,
        carried=first_input,
    ),
}
