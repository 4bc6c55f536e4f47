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
_WHOLE = 2**31 - 1  # an end that no axis reaches
WITH_TARGET = frozenset(["Reshape", "Expand", "Range"])
"""Operators whose second input holds sizes of the output."""


def learn(model: ir.Model, node: ir.Node, target: np.ndarray | None) -> bool:
    """Find out which sizes of a node's output are those of its inputs, and name them so.

    Parameters
    ----------
    model : onnx_ir.Model
    node : onnx_ir.Node
    target : ndarray of `Size`, or None
        Contents of the second input of an operator `WITH_TARGET`, where something is known.

    Returns
    -------
    bool
        A number was learnt: more may follow from it.
    """
    sizes: Sequence[Size] | None = None
    if node.op_type in WITH_TARGET:
        sizes = None if target is None else _TARGETED[node.op_type](node, target)
    elif node.op_type == "MatMul":
        sizes = _product(*(dims(x) if x is not None else None for x in node.inputs))
    elif node.op_type == "Concat":
        return _concatenated(model, node)
    elif node.op_type in ("Slice", "Tile"):
        sizes = _kept(node)
    elif node.op_type in _BROADCASTING:
        sizes = _broadcast([None if x is None else dims(x) for x in node.inputs])
    if sizes is None:
        return False
    if node.outputs[0].shape is None:
        node.outputs[0].shape = ir.Shape(sizes)
    return equate(model, node.outputs[0], sizes)


def equate(model: ir.Model, value: ir.Value, sizes: Sequence[Size]) -> bool:
    """Let what is known of a value's sizes hold for their names, wherever they are.

    Returns
    -------
    bool
        A number was learnt: more may follow from it.
    """
    first = old = dims(value)
    if old is None or first is None or len(sizes) != len(old):
        return False
    if any(value is given for given in model.graph.inputs):  # callers see what the model says
        return False
    fixed = _fixed(model)
    for before, now in zip(old, sizes, strict=True):
        if now is not None and isinstance(before, str) and before != now and before not in fixed:
            _rename(model, before, now)
    old = dims(value) or []
    made = [was if now is None else now for was, now in zip(old, sizes, strict=True)]
    if made != old:
        value.shape = ir.Shape(made)
    return any(isinstance(now, int) for was, now in zip(first, made, strict=True) if was != now)


def _fixed(model: ir.Model) -> set[str]:
    """Names of dimensions that the model's inputs have: they stay."""
    return {d for x in model.graph.inputs for d in dims(x) or [] if isinstance(d, str)}


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


def _kept(node: ir.Node) -> list[Size] | None:
    """Of a Slice or Tile: the axes that it leaves alone."""
    sizes = None if node.inputs[0] is None else dims(node.inputs[0])
    given = [integers(value) for value in node.inputs[1:]]
    if sizes is None or not given:
        return None
    if node.op_type == "Tile":
        counts = given[0]
        changed = None if counts is None else {i for i, n in enumerate(counts) if n != 1}
    else:
        changed = _cut(given, len(sizes))
    if changed is None:
        return None
    return [None if axis in changed else size for axis, size in enumerate(sizes)]


def _cut(limits: Sequence[list[int] | None], rank: int) -> set[int] | None:
    """Axes that a Slice does not take as a whole, by its starts, ends, axes and steps."""
    axes = limits[2] if len(limits) > 2 else None
    if axes is None:
        return None
    starts, ends, _, steps, *_ = [*limits, None, None]
    whole = zip(starts or [1] * len(axes), ends or [0] * len(axes), strict=True)
    steps = [1] * len(axes) if len(limits) < 4 else steps or [0] * len(axes)
    return {
        axis % rank
        for axis, (start, end), step in zip(axes, whole, steps, strict=True)
        if start != 0 or end < _WHOLE or step != 1
    }


def _concatenated(model: ir.Model, node: ir.Node) -> bool:
    """Let all that is concatenated have the same sizes along the other axes."""
    shapes = [None if value is None else dims(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return False
    fixed = _fixed(model)

    def order(size: Size) -> tuple[bool, bool]:  # numbers before names, of these the model's first
        return not isinstance(size, int), size not in fixed

    common = [min(column, key=order) for column in zip(*known, strict=True)]
    common[attribute(node, "axis", 0) % len(common)] = None
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return any([equate(model, value, common) for value in values])


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
