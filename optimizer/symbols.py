"""Dimensions that are always equal: they get one name, so that passes see it.

Shape inference gives a new name to every size it cannot compute, such as that of ``-1`` in a
Reshape. Where the size is that of another dimension after all, the new name goes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from .values import attribute, dims, integers

Size = int | str | None
"""A number, the name of a dimension, or None where nothing is known."""

_BROADCASTING = frozenset(
    ["Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean", "PRelu", "Where"]
)
_COMPARISONS = frozenset(["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])


def learn(model: ir.Model, node: ir.Node, target: np.ndarray | None) -> None:
    """Find out which sizes of a node's output are those of its inputs, and name them so.

    Parameters
    ----------
    model : onnx_ir.Model
    node : onnx_ir.Node
    target : ndarray of `Size`, or None
        Contents of the second input of an Expand, where something is known.
    """
    sizes: Sequence[Size] | None = None
    if node.op_type == "Reshape" and len(node.inputs) == 2:
        sizes = _reshaped(node)
    elif node.op_type == "Expand" and target is not None and target.ndim == 1:
        sizes = _broadcast([dims(node.inputs[0]), list(target)])  # type: ignore[arg-type]
    elif node.op_type in _BROADCASTING | _COMPARISONS:
        sizes = _broadcast([None if x is None else dims(x) for x in node.inputs])
    if sizes is not None:
        equate(model, node.outputs[0], sizes)


def equate(model: ir.Model, value: ir.Value, sizes: Sequence[Size]) -> None:
    """Let what is known of a value's sizes hold for their names, wherever they are."""
    old = dims(value)
    if old is None or len(sizes) != len(old):
        return
    fixed = {d for x in model.graph.inputs for d in dims(x) or [] if isinstance(d, str)}
    for before, now in zip(old, sizes, strict=True):
        if now is not None and isinstance(before, str) and before != now and before not in fixed:
            _rename(model, before, now)
    old = dims(value) or []
    made = [was if now is None else now for was, now in zip(old, sizes, strict=True)]
    if made != old:
        value.shape = ir.Shape(made)


def _reshaped(node: ir.Node) -> list[Size] | None:
    """Of a Reshape with one size left open: it is the named one if all others have one product."""
    x, target = node.inputs[0], integers(node.inputs[1])
    before = None if x is None else dims(x)
    if before is None or target is None or attribute(node, "allowzero", 0):
        return None
    if any(size == 0 and axis >= len(before) for axis, size in enumerate(target)):
        return None
    after: list[Size] = [before[axis] if s == 0 else s for axis, s in enumerate(target)]
    if after.count(-1) != 1 or None in before:
        return [None if size == -1 else size for size in after]
    left = [size for size in before if not isinstance(size, int)]
    for size in after:
        if not isinstance(size, int):
            if size not in left:
                return [None if size == -1 else size for size in after]
            left.remove(size)
    given = math.prod(size for size in before if isinstance(size, int))
    taken = math.prod(size for size in after if isinstance(size, int) and size != -1)
    open_size = left[0] if len(left) == 1 and given == taken > 0 else None
    return [open_size if size == -1 else size for size in after]


def _broadcast(shapes: list[list[Size] | None]) -> list[Size] | None:
    """Sizes of a broadcast result, None where they depend on which of two names is 1."""
    if any(shape is None for shape in shapes):
        return None
    known = [shape for shape in shapes if shape is not None]
    longest = max(map(len, known), default=0)
    padded: list[list[Size]] = [[*[1] * (longest - len(each)), *each] for each in known]
    result: list[Size] = []
    for column in zip(*padded, strict=True):
        others = {size for size in column if size != 1}
        numbers = [size for size in others if isinstance(size, int)]
        if len(others) <= 1:
            result.append(others.pop() if others else 1)
        else:
            result.append(numbers[0] if len(numbers) == 1 else None)
    return result


def _rename(model: ir.Model, old: str, new: int | str) -> None:
    for graph in model.graphs():
        values = (value for node in graph for value in node.outputs)
        for value in (*graph.inputs, *values):
            sizes = dims(value)
            if sizes is not None and old in sizes:
                value.shape = ir.Shape([new if size == old else size for size in sizes])
