"""Nodes that compute the same in another order of axes, with other attributes and constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from .values import attribute, constant, integers, rank

Order = tuple[int, ...]


@dataclass
class Moved:
    """What changes in a node whose axis ``i`` becomes axis ``order[i]``.

    Attributes
    ----------
    places : set of int
        Inputs that must come in the other order.
    data : list of ir.Value
        Those of them that are not constant.
    constants : dict of int to array
        Other contents of constant inputs, by their places.
    attributes : dict
        Attributes that change.
    moves_outputs : bool
        The outputs have the other order, too.
    """

    places: set[int] = field(default_factory=set)
    data: list[ir.Value] = field(default_factory=list)
    constants: dict[int, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, ir.Attr] = field(default_factory=dict)
    moves_outputs: bool = True


def move_axes(node: ir.Node, order: Order) -> Moved | None:
    """Say what changes in a node when its axis ``i`` becomes axis ``order[i]``; None: it cannot."""
    rule = None if node.domain else _RULES.get(node.op_type)
    return None if rule is None else rule(node, order)


def _operands(node: ir.Node, order: Order, places: Sequence[int]) -> Moved | None:
    """Move inputs that broadcast to the axes of the order."""
    plan = Moved()
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
                plan.constants[i] = np.transpose(full, _inverse(order))
            continue
        if rank(value) != len(order):
            return None
        plan.places.add(i)
        plan.data.append(value)
    return plan if plan.data else None


def _inverse(order: Order) -> list[int]:
    return [order.index(axis) for axis in range(len(order))]


def _elementwise(node: ir.Node, order: Order) -> Moved | None:
    return _operands(node, order, range(len(node.inputs)))


def _along_axis(default: int) -> Callable[[ir.Node, Order], Moved | None]:
    def move(node: ir.Node, order: Order) -> Moved | None:
        count = len(node.inputs) if node.op_type == "Concat" else 1
        plan = _operands(node, order, range(count))
        if plan is None or any(rank(value) != len(order) for value in node.inputs[:count]):
            return None
        axis = order[attribute(node, "axis", default) % len(order)]
        plan.attributes["axis"] = ir.AttrInt64("axis", axis)
        return plan

    return move


def _reduce(node: ir.Node, order: Order) -> Moved | None:
    axes = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    plan = _operands(node, order, [0])
    if plan is None or not axes:
        return None
    axes = [axis % len(order) for axis in axes]
    plan.constants[1] = np.array([order[axis] for axis in axes], np.int64)
    if not attribute(node, "keepdims", 1):
        left = [place for axis, place in enumerate(order) if axis not in axes]
        plan.moves_outputs = False
        return plan if left == sorted(left) else None
    return plan


def _pad(node: ir.Node, order: Order) -> Moved | None:
    pads = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    plan = _operands(node, order, [0])
    if plan is None or pads is None:
        return None
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return _with_axes(plan, 3, integers(node.inputs[3]), order)
    both = np.array(pads, np.int64).reshape(2, len(order))
    plan.constants[1] = both[:, _inverse(order)].reshape(-1)
    return plan


def _slice(node: ir.Node, order: Order) -> Moved | None:
    plan = _operands(node, order, [0])
    if plan is None or len(node.inputs) < 4 or node.inputs[3] is None:
        return None
    return _with_axes(plan, 3, integers(node.inputs[3]), order)


def _with_axes(plan: Moved, place: int, axes: list[int] | None, order: Order) -> Moved | None:
    if axes is None:
        return None
    plan.constants[place] = np.array([order[axis % len(order)] for axis in axes], np.int64)
    return plan


def _by_axis(node: ir.Node, order: Order) -> Moved | None:
    """Move inputs that hold a number for each axis."""
    plan = _operands(node, order, [0])
    if plan is None or "axes" in node.attributes:
        return None
    for i, value in enumerate(node.inputs[1:], 1):
        contents = constant(value)
        if value is None or (contents is not None and contents.size == 0):
            continue
        if contents is None or contents.shape != (len(order),):
            return None
        plan.constants[i] = contents[_inverse(order)]
    return plan


def _resize(node: ir.Node, order: Order) -> Moved | None:
    """Images stay such: runtimes resize the last axes, and hardly any other."""
    plan = _by_axis(node, order)
    scales = None if plan is None else plan.constants.get(2)
    return plan if scales is not None and (scales[:2] == 1).all() else None


_RULES: dict[str, Callable[[ir.Node, Order], Moved | None]] = {
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
            *("ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare"),
        ],
        _reduce,
    ),
    "Concat": _along_axis(0),
    "Split": _along_axis(0),
    "Softmax": _along_axis(-1),
    "LogSoftmax": _along_axis(-1),
    "Pad": _pad,
    "Slice": _slice,
    "Resize": _resize,
    "Tile": _by_axis,
}
