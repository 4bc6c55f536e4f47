"""Nodes that compute the same in another order of axes, with other attributes and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from .blocks import Block, blocks, carry, reshape_target
from .extents import are_sizes
from .values import attribute, constant, dims, integers, rank

Order = tuple[int, ...]
"""Axis ``i`` becomes axis ``order[i]``."""


@dataclass
class Moved:
    """What changes in a node when its axes come in another order.

    Attributes
    ----------
    orders : dict of ir.Value to Order
        Inputs that must come in another order, and outputs that then do.
    constants : dict of int to array
        Other contents of constant inputs, by their places.
    gathered : dict of int to Order
        Inputs whose elements come in another order, by their places.
    attributes : dict
        Attributes that change; None for those that go.
    op_type : str, optional
        Another operator that does it.
    """

    orders: dict[ir.Value, Order]
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    gathered: dict[int, Order] = field(default_factory=dict)
    attributes: dict[str, ir.Attr | None] = field(default_factory=dict)
    op_type: str | None = None


def move_axes(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """Say what changes in a node when one of its values has another order; None: it cannot."""
    rule = None if node.domain else _RULES.get(node.op_type)
    plan = None if rule is None or rank(value) != len(order) else rule(node, value, order)
    if plan is None or plan.orders.get(value) != order:
        return None
    left = [y for y in node.outputs if y not in plan.orders]
    return None if any(y.uses() or y.is_graph_output() for y in left) else plan


def inverse(order: Sequence[int]) -> Order:
    """Return the axes as they come, of where each comes; or the other way round."""
    return tuple(order.index(axis) for axis in range(len(order)))


def _operands(node: ir.Node, order: Order, places: Sequence[int]) -> Moved | None:
    """Move inputs that broadcast to the axes of the order, and all outputs."""
    plan = Moved({})
    for i in places:
        value = node.inputs[i]
        contents = constant(value)
        if value is None or rank(value) == 0:
            continue
        if contents is not None:
            if contents.ndim > len(order):
                return None
            if contents.size > 1:
                full = contents.reshape((1,) * (len(order) - contents.ndim) + contents.shape)
                plan.constants[i] = np.transpose(full, inverse(order))
            continue
        if rank(value) != len(order):
            return None
        plan.orders[value] = order
    plan.orders.update(dict.fromkeys(node.outputs, order))
    return plan


def _elementwise(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    return _operands(node, order, range(len(node.inputs)))


def _along_axis(default: int) -> Callable[[ir.Node, ir.Value, Order], Moved | None]:
    def move(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
        count = len(node.inputs) if node.op_type == "Concat" else 1
        plan = _operands(node, order, range(count))
        if plan is None or any(rank(x) != len(order) for x in node.inputs[:count]):
            return None
        axis = order[attribute(node, "axis", default) % len(order)]
        plan.attributes["axis"] = ir.AttrInt64("axis", axis)
        return plan

    return move


def _reshaped(
    node: ir.Node, value: ir.Value, order: Order, found: Sequence[Block]
) -> tuple[Moved, Order, Order] | None:
    """Move a node whose axes after are, block by block, those before; with both layouts."""
    x, y = node.inputs[0], node.outputs[0]
    old, new = rank(x), rank(y)
    if x is None or old is None or new is None or x is y:
        return None
    there = inverse(order)
    back = [(after, before) for before, after in found]
    carried = carry(there, found, new) if value is x else carry(there, back, old)
    if carried is None:
        return None
    before, after = (there, carried) if value is x else (carried, there)
    return Moved({x: inverse(before), y: inverse(after)}), before, after


def _without(axes: Sequence[int], size: int) -> list[Block]:
    """Blocks of single axes, of which some are left out behind (or before, by their places)."""
    left = [axis for axis in range(size) if axis not in axes]
    return [((axis,), (place,)) for place, axis in enumerate(left)]


def _squeeze(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    axes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    is_squeeze = node.op_type == "Squeeze"
    size = rank(node.inputs[0] if is_squeeze else node.outputs[0])
    if axes is None or size is None:
        return None
    axes = [axis % size for axis in axes]
    found = _without(axes, size)
    moved = _reshaped(node, value, order, found if is_squeeze else [(b, a) for a, b in found])
    if moved is None:
        return None
    plan, before, after = moved
    places = inverse(before if is_squeeze else after)
    plan.constants[1] = np.array(sorted(places[axis] for axis in axes), np.int64)
    return plan


def _reshape(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    x, y = node.inputs[0], node.outputs[0]
    before, after = (None if v is None else dims(v) for v in (x, y))
    if before is None or after is None or 0 in before or 0 in after:
        return None
    moved = _reshaped(node, value, order, blocks(before, after))
    if moved is None:
        return None
    plan, old, new = moved
    target = reshape_target([before[axis] for axis in old], [after[axis] for axis in new])
    if target is not None:
        plan.constants[1] = np.array(target, np.int64)
    elif are_sizes(node.inputs[1]):
        plan.gathered[1] = new
    else:
        return None
    plan.op_type, plan.attributes = "Reshape", dict.fromkeys(node.attributes)
    return plan


def _reduce(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    size = rank(node.inputs[0])
    by_input = len(node.inputs) > 1
    axes = integers(node.inputs[1]) if by_input else [attribute(node, "axis", 0)]
    if node.op_type.startswith("Arg") == by_input or not axes or size is None:
        return None
    axes = [axis % size for axis in axes]
    kept = attribute(node, "keepdims", 1)
    every: list[Block] = [((axis,), (axis,)) for axis in range(size)]
    moved = _reshaped(node, value, order, every if kept else _without(axes, size))
    if moved is None:
        return None
    plan, before, _ = moved
    places = [inverse(before)[axis] for axis in axes]
    if by_input:
        plan.constants[1] = np.array(places, np.int64)
    else:
        plan.attributes["axis"] = ir.AttrInt64("axis", places[0])
    return plan


def _gather(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """With one index the axis goes."""
    size, indices = rank(node.inputs[0]), constant(node.inputs[1])
    if size is None or indices is None or indices.ndim > 1:
        return None
    axis = attribute(node, "axis", 0) % size
    found = _without([axis] if indices.ndim == 0 else [], size)
    moved = _reshaped(node, value, order, found)
    if moved is None:
        return None
    plan, before, _ = moved
    plan.attributes["axis"] = ir.AttrInt64("axis", inverse(before)[axis])
    return plan


def _quantize(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """Scales are one for all, or lie along an axis."""
    scale = node.inputs[1]
    if rank(scale) not in (0, 1) or attribute(node, "block_size", 0):
        return None
    plan = _operands(node, order, [0])
    if plan is not None and rank(scale) == 1:
        axis = order[attribute(node, "axis", 1) % len(order)]
        plan.attributes["axis"] = ir.AttrInt64("axis", axis)
    return plan


def _pad(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    pads = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    plan = _operands(node, order, [0])
    if plan is None or pads is None:
        return None
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return _with_axes(plan, 3, node.inputs[3], order)
    both = np.array(pads, np.int64).reshape(2, len(order))
    plan.constants[1] = both[:, inverse(order)].reshape(-1)
    return plan


def _slice(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    plan = _operands(node, order, [0])
    if plan is None or len(node.inputs) < 4 or node.inputs[3] is None:
        return None
    return _with_axes(plan, 3, node.inputs[3], order)


def _with_axes(plan: Moved, place: int, value: ir.Value, order: Order) -> Moved | None:
    axes = constant(value)
    if axes is None:
        return None
    moved = [order[axis % len(order)] for axis in axes.reshape(-1).tolist()]
    plan.constants[place] = np.array(moved, axes.dtype)  # the other limits have that type, too
    return plan


def _by_axis(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """Move inputs that hold a number for each axis."""
    plan = _operands(node, order, [0])
    if plan is None or "axes" in node.attributes:
        return None
    for i, numbers in enumerate(node.inputs[1:], 1):
        contents = constant(numbers)
        if numbers is None or (contents is not None and contents.size == 0):
            continue
        if node.op_type == "Expand" and dims(numbers) == [len(order)]:
            plan.gathered[i] = inverse(order)
            continue
        if contents is None or contents.shape != (len(order),):
            return None
        plan.constants[i] = contents[list(inverse(order))]
    return plan


def _resize(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """Images stay such: runtimes resize the last axes, and hardly any other."""
    plan = _by_axis(node, value, order)
    scales = None if plan is None else plan.constants.get(2)
    return plan if scales is not None and (scales[:2] == 1).all() else None


def _layer_normalization(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """The axes that are normalized stay the last ones."""
    first = attribute(node, "axis", -1) % len(order)
    if order[first:] != tuple(range(first, len(order))):
        return None
    return Moved({node.inputs[0]: order, node.outputs[0]: order})  # type: ignore[dict-item]


def _product(node: ir.Node, value: ir.Value, order: Order) -> Moved | None:
    """A product with a matrix sums over channels: when these come second, it is a convolution."""
    x, matrix = node.inputs[0], constant(node.inputs[1])
    size = len(order)
    if x is None or rank(x) != size or size < 3 or matrix is None or matrix.ndim != 2:
        return None
    plan = Moved({x: order, node.outputs[0]: order})
    if order[-1] == size - 1:
        return plan
    if order[0] != 0 or order[-1] != 1 or matrix.dtype != np.float32:
        return None
    plan.op_type = "Conv"
    plan.constants[1] = matrix.T.reshape(*matrix.T.shape, *[1] * (size - 2))
    return plan


_Rule = Callable[[ir.Node, ir.Value, Order], Moved | None]
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(
        [
            *("Abs", "Cast", "Ceil", "Celu", "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu"),
            *("HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log"),
            *("Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign"),
            *("Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
            *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"),
            *("Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow", "PRelu", "Sub", "Sum", "Where"),
            "Xor",
        ],
        _elementwise,
    ),
    **dict.fromkeys(
        [
            *("ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean"),
            *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "ArgMax", "ArgMin"),
        ],
        _reduce,
    ),
    **dict.fromkeys(["Concat", "Split"], _along_axis(0)),
    **dict.fromkeys(["Softmax", "LogSoftmax"], _along_axis(-1)),
    **dict.fromkeys(["Squeeze", "Unsqueeze"], _squeeze),
    **dict.fromkeys(["Reshape", "Flatten"], _reshape),
    "Gather": _gather,
    **dict.fromkeys(["QuantizeLinear", "DequantizeLinear"], _quantize),
    "Pad": _pad,
    "Slice": _slice,
    "Resize": _resize,
    **dict.fromkeys(["Tile", "Expand"], _by_axis),
    "LayerNormalization": _layer_normalization,
    "MatMul": _product,
}
