"""Names of dimensions: sizes that are always equal get one name, so that passes see it.

Shape inference gives a new name to every size it cannot compute, such as that of ``-1`` in a
Reshape. Where the size is that of another dimension after all, the new name goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from .operators import lookup
from .operators.broadcasting import broadcast_sizes
from .operators.record import Contents
from .values import Size, attribute, dims


def learn(model: ir.Model, node: ir.Node, target: Contents | None) -> bool:
    """Find out which sizes of a node's output are those of its inputs, and name them so.

    Parameters
    ----------
    model : onnx_ir.Model
    node : onnx_ir.Node
    target : array of `Size`, or None
        Contents of the second input where that holds sizes of the output, and they are known.

    Returns
    -------
    bool
        A number was learnt: more may follow from it.
    """
    operator = lookup(node)
    if node.op_type == "Concat":
        return _equate_concatenated(model, node)
    sizes: Sequence[Size] | None = None
    if operator.broadcasts:
        sizes = broadcast_sizes([None if x is None else dims(x) for x in node.inputs])
    elif operator.shape is not None:
        sizes = operator.shape(node, target)
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
    before = dims(value)
    if before is None or len(sizes) != len(before):
        return False
    if any(value is x for x in model.graph.inputs):  # callers see what the model says
        return False
    fixed = _input_names(model)
    for old, new in zip(before, sizes, strict=True):
        if new is not None and isinstance(old, str) and old != new and old not in fixed:
            _rename(model, old, new)
    renamed = dims(value)
    assert renamed is not None
    merged = [old if new is None else new for old, new in zip(renamed, sizes, strict=True)]
    if merged != renamed:
        value.shape = ir.Shape(merged)
    changes = zip(before, merged, strict=True)
    return any(isinstance(new, int) for old, new in changes if old != new)


def _input_names(model: ir.Model) -> set[str]:
    """Names of dimensions that the model's inputs have: they stay."""
    shapes = [dims(x) for x in model.graph.inputs]
    return {
        size for shape in shapes if shape is not None for size in shape if isinstance(size, str)
    }


def _equate_concatenated(model: ir.Model, node: ir.Node) -> bool:
    """Let all that is concatenated have the same sizes along the other axes."""
    shapes = [None if value is None else dims(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return False
    fixed = _input_names(model)

    def order(size: Size) -> tuple[bool, bool]:  # numbers before names, of these the model's first
        return not isinstance(size, int), size not in fixed

    common = [min(column, key=order) for column in zip(*known, strict=True)]
    common[attribute(node, "axis", 0) % len(common)] = None
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    return any([equate(model, value, common) for value in values])


def _rename(model: ir.Model, old: str, new: int | str) -> None:
    for graph in model.graphs():
        values = (value for node in graph for value in node.outputs)
        for value in (*graph.inputs, *values):
            sizes = dims(value)
            if sizes is not None and old in sizes:
                value.shape = ir.Shape([new if size == old else size for size in sizes])
