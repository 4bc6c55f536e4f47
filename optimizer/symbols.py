"""Dimensions that are always equal: they get one name, so that passes see it.

Shape inference gives a new name to every size it cannot compute, such as that of ``-1`` in a
Reshape. Where the size is that of another dimension after all, the new name goes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from .values import attribute, dims, integers, scalar

Size = int | str | None
"""A number, the name of a dimension, or None where nothing is known."""

_BROADCASTING = frozenset([
    *("Add", "Sub", "Mul", "Div", "Pow", "Mod", "Max", "Min", "Sum", "Mean", "PRelu", "Where"),
    *("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual", "And", "Or", "Xor"),
])  # fmt: skip
WITH_TARGET = frozenset(["Reshape", "Expand", "Range"])
"""Operators whose second input holds sizes of the output."""


def learn(model: ir.Model, node: ir.Node, target: np.ndarray | None) -> None:
    """Find out which sizes of a node's output are those of its inputs, and name them so.

    Parameters
    ----------
    model : onnx_ir.Model
    node : onnx_ir.Node
    target : ndarray of `Size`, or None
        Contents of the second input of an operator `WITH_TARGET`, where something is known.
    """
    sizes: Sequence[Size] | None = None
    if node.op_type in WITH_TARGET:
        sizes = None if target is None else _TARGETED[node.op_type](node, target)
    elif node.op_type == "MatMul":
        sizes = _product(*(dims(x) if x is not None else None for x in node.inputs))
    elif node.op_type == "Slice":
        sizes = _sliced(node)
    elif node.op_type in _BROADCASTING:
        sizes = _broadcast([None if x is None else dims(x) for x in node.inputs])
    if sizes is None:
        return
    if node.outputs[0].shape is None:
        node.outputs[0].shape = ir.Shape(sizes)
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


def _reshaped(node: ir.Node, target: np.ndarray) -> list[Size] | None:
    x = node.inputs[0]
    before: list[Size] = (None if x is None else dims(x)) or []
    copies = not attribute(node, "allowzero", 0)
    after: list[Size] = list(target.reshape(-1))
    for axis, size in enumerate(after):
        if size == 0 and copies:
            after[axis] = before[axis] if axis < len(before) else None
    rest = [size for size in after if size != -1]
    open_size = None if None in before or None in rest else _quotient(before, rest)
    return [open_size if size == -1 else size for size in after]


def _quotient(sizes: Sequence[Size], others: Sequence[Size]) -> Size:
    """Size by which others have to be multiplied to give the same number of elements."""
    left = [size for size in sizes if isinstance(size, str)]
    for size in others:
        if isinstance(size, str):
            if size not in left:
                return None
            left.remove(size)
    given, taken = (
        math.prod(size for size in each if isinstance(size, int)) for each in (sizes, others)
    )
    if not taken or given % taken or len(left) > 1:
        return None
    if not left:
        return given // taken
    return left[0] if given == taken else None


def _expanded(node: ir.Node, target: np.ndarray) -> list[Size] | None:
    if target.ndim != 1 or node.inputs[0] is None:
        return None
    return _broadcast([dims(node.inputs[0]), list(target)])


def _counted(node: ir.Node, target: np.ndarray) -> list[Size] | None:
    """Of a Range from 0 in steps of 1."""
    return list(target.reshape(-1)) if [scalar(node.inputs[i]) for i in (0, 2)] == [0, 1] else None


_TARGETED: dict[str, Callable[[ir.Node, np.ndarray], list[Size] | None]] = {
    "Reshape": _reshaped,
    "Expand": _expanded,
    "Range": _counted,
}


def _product(a: list[Size] | None, b: list[Size] | None) -> list[Size] | None:
    """Sizes of a matrix product of operands that are no vectors."""
    if a is None or b is None or min(len(a), len(b)) < 2:
        return None
    batch = _broadcast([a[:-2], b[:-2]])
    return None if batch is None else [*batch, a[-2], b[-1]]


def _sliced(node: ir.Node) -> list[Size] | None:
    """Of a Slice: the axes that it leaves alone."""
    sizes = None if node.inputs[0] is None else dims(node.inputs[0])
    axes = integers(node.inputs[3]) if len(node.inputs) > 3 else None
    if sizes is None or axes is None:
        return None
    cut = {axis % len(sizes) for axis in axes}
    return [None if axis in cut else size for axis, size in enumerate(sizes)]


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
