"""Keeps a graph tidy: dead nodes, and operators that do nothing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from .report import Report
from .symbols import equate
from .values import attribute, constant, dims, insert, integers, rank, replace


def remove_dead(model: ir.Model, report: Report) -> int:
    """Remove nodes nothing depends on, and make Constants initializers; returns how many."""
    before = sum(1 for _ in model.graph.all_nodes())
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(model)
    common.RemoveUnusedNodesPass()(model)
    for graph in model.graphs():  # that pass looks at the weights of the main graph only
        for value in list(graph.initializers.values()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                graph.initializers.pop(str(value.name))
    return before - sum(1 for _ in model.graph.all_nodes())


def infer_shapes(model: ir.Model, report: Report) -> int:
    """Fill in types and shapes that are missing; changes no node."""
    values = (value for graph in model.graphs() for node in graph for value in node.outputs)
    if any(value.name and (value.shape is None or value.dtype is None) for value in values):
        infer(model)
    return 0


def infer(model: ir.Model) -> None:
    """Fill in what onnx's inference finds out about types and shapes."""
    # What it makes of sequences and the like is of no interest.
    logger = logging.getLogger("onnx_ir.passes.common.shape_inference")
    level = logger.level
    logger.setLevel(logging.ERROR)
    common.ShapeInferencePass(check_type=False, strict_mode=False)(model)
    logger.setLevel(level)


def _dropout(node: ir.Node) -> bool:
    training = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    given = len(node.inputs) > 2 and node.inputs[2] is not None
    mask = len(node.outputs) > 1 and (node.outputs[1].uses() or node.outputs[1].is_graph_output())
    return not mask and (not given or (training is not None and not training.any()))


def _cast(node: ir.Node) -> bool:
    x = node.inputs[0]
    return x is not None and x.dtype is not None and attribute(node, "to", 0) == int(x.dtype)


def _transpose(node: ir.Node) -> bool:
    order = node.attributes.get("perm")
    return order is not None and list(order.as_ints()) == sorted(order.as_ints())


def _pad(node: ir.Node) -> bool:
    pads = integers(node.inputs[1]) if len(node.inputs) > 1 else None
    return pads is not None and not any(pads)


def _same_shape(node: ir.Node) -> bool:
    """The result has the shape of the input, all of it known by number or name."""
    x = node.inputs[0]
    assert x is not None
    before, after = dims(x), dims(node.outputs[0])
    return before is not None and None not in before and before == after


def _slice(node: ir.Node) -> bool:
    if len(node.inputs) < 3:  # before opset 10 the limits were attributes
        return False
    starts, steps = integers(node.inputs[1]), None
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        steps = integers(node.inputs[4])
        if steps is None:
            return False
    whole = starts is not None and not any(starts) and all(s == 1 for s in steps or ())
    ends = integers(node.inputs[2])
    if not whole or ends is None:
        return False
    axes = integers(node.inputs[3]) if len(node.inputs) > 3 else None
    if axes is None:
        axes = list(range(len(ends)))
    x = node.inputs[0]
    assert x is not None
    reached = (_reaches(end, axis, x) for end, axis in zip(ends, axes, strict=True))
    return all(reached) or _same_shape(node)


def _reaches(end: int, axis: int, x: ir.Value) -> bool:
    """Tell whether an end is that of the axis, whatever its size."""
    sizes = dims(x)
    if end >= 2**31 - 1 or sizes is None:
        return end >= 2**31 - 1
    size = sizes[axis]
    if isinstance(size, int):
        return end >= size
    # Some exporters mean 1e9: with the other axes, that would be more than can be addressed.
    rest = math.prod(each for each in sizes if isinstance(each, int))
    rest *= end ** (sizes.count(size) - 1) if size is not None else 1
    known = x.dtype is not None and x.dtype != ir.DataType.STRING
    return known and end * rest * x.dtype.itemsize >= 2**48  # type: ignore[union-attr]


def _neutral(number: float, side: int = 1) -> Callable[[ir.Node], bool]:
    """Tell whether the operand is a number that changes nothing, not even the shape or a zero."""

    def does_nothing(node: ir.Node) -> bool:
        x, operand = node.inputs[1 - side], node.inputs[side]
        array, axes = constant(operand), rank(x)
        if array is None or axes is None or array.dtype.kind not in "fiu":
            return False
        same = array.size == 1 and bool((array == number).all())
        if number == 0 and array.dtype.kind == "f":
            # Of -0, x + 0 and x - -0 make 0; x + -0 and x - 0 leave it alone.
            same = same and bool(np.signbit(array).all()) == (node.op_type == "Add")
        return same and array.ndim <= axes

    return does_nothing


def _pool(node: ir.Node) -> bool:
    """A window of one element, at every position."""
    known = {k: v.as_ints() for k, v in node.attributes.items() if k in _WINDOWS}
    return all(set(v) <= {_WINDOWS[k]} for k, v in known.items()) and not any(
        value.uses() or value.is_graph_output() for value in node.outputs[1:]
    )


_WINDOWS = {"kernel_shape": 1, "strides": 1, "pads": 0}


def _clip(node: ir.Node) -> bool:
    limits = [value for value in node.inputs[1:] if value is not None]
    return not limits and not {"min", "max"} & set(node.attributes)


def _single(node: ir.Node) -> bool:
    return len(node.inputs) == 1


_NO_OPS: dict[str, Callable[[ir.Node], bool]] = {
    "Identity": lambda node: True,
    "Dropout": _dropout,
    "Cast": _cast,
    "Transpose": _transpose,
    "Pad": _pad,
    "Slice": _slice,
    "Clip": _clip,
    "Add": _neutral(0.0),
    "Sub": _neutral(0.0),
    "Mul": _neutral(1.0),
    "Div": _neutral(1.0),
    **dict.fromkeys(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile"], _same_shape),
    **dict.fromkeys(["Concat", "Sum", "Max", "Min", "Mean"], _single),
    **dict.fromkeys(["MaxPool", "AveragePool"], _pool),
}


# The number on the left.
_SWAPPED = {"Add": _neutral(0.0, 0), "Mul": _neutral(1.0, 0)}


def _unchanged(node: ir.Node) -> ir.Value | None:
    """Return the input that the node returns as it is."""
    does_nothing = _NO_OPS.get(node.op_type)
    if does_nothing is not None and node.inputs and node.inputs[0] is not None:
        if does_nothing(node):
            return node.inputs[0]
        if node.op_type in _SWAPPED and _SWAPPED[node.op_type](node):
            return node.inputs[1]
    return None


def eliminate_no_ops(model: ir.Model, report: Report) -> int:
    """Remove operators that return their input as it is."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            x = None if node.domain else _unchanged(node)
            if x is not None and replace(node, x):
                equate(model, node.outputs[0], dims(x) or ())
                count += 1
    return count


def resolve_cast_like(model: ir.Model, report: Report) -> int:
    """Turn CastLike into Cast where the type is known: only then can constants be folded."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            if node.op_type != "CastLike" or node.domain or len(node.inputs) != 2:
                continue
            x, like = node.inputs
            if x is None or like is None or like.dtype is None:
                continue
            kept = {k: v for k, v in node.attributes.items() if k in ("saturate", "round_mode")}
            cast = ir.node("Cast", [x], {**kept, "to": int(like.dtype)}, name=node.name)
            cast.outputs[0].shape = node.outputs[0].shape
            cast.outputs[0].type = ir.TensorType(like.dtype)
            insert(node, [cast])
            count += replace(node, cast.outputs[0])
    return count
