"""Names of dimensions: sizes that are always equal get one name, so that passes see it.

Shape inference gives a new name to every size it cannot compute, such as that of ``-1`` in a
Reshape. Where the size is that of another dimension after all, the new name goes.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from functools import cached_property

import onnx_ir as ir

from .operators import lookup
from .operators.broadcasting import broadcast_sizes
from .operators.record import Contents
from .size_sums import add_sizes
from .values import Size, are_axes, attribute, dims, graphs


class Names:
    """Names of the dimensions of a model's values, and the values that have them.

    Parameters
    ----------
    model : onnx_ir.Model

    Attributes
    ----------
    fixed : set of str
        Names of dimensions that the model's inputs have: they stay.
    """

    def __init__(self, model: ir.Model) -> None:
        self._model = model
        self._reshaped: dict[Hashable, ir.Value] = {}
        shapes = [dims(x) for x in model.graph.inputs]
        self.fixed = {size for shape in shapes for size in shape or () if isinstance(size, str)}

    def is_input(self, value: ir.Value) -> bool:
        """Tell whether a value is an input of the model: callers see what the model says of it."""
        return value.is_graph_input() and value.graph is self._model.graph

    def describe(self, value: ir.Value, sizes: Sequence[Size]) -> None:
        """Let a value have other sizes."""
        value.shape = ir.Shape(sizes)
        for size in set(sizes):
            if isinstance(size, str):
                self._holders.setdefault(size, {})[value] = None

    def rename(self, old: str, new: int | str) -> None:
        """Give a dimension its size or another name, wherever it is."""
        for value in self._holders.pop(old, {}):
            sizes = dims(value) or []
            if old in sizes:
                self.describe(value, [new if size == old else size for size in sizes])

    def alike(self, node: ir.Node, target: Contents | None) -> list[Size] | None:
        """Sizes of the first Reshape of the same sizes to the same ones: what is open is equal.

        Where those it reshapes to are not known, they are the same if one value holds them.
        """
        x = None if node.inputs[0] is None else dims(node.inputs[0])
        if x is None or None in x:
            return None
        wanted = () if target is None else tuple(target.reshape(-1))
        known = target is not None and None not in wanted
        if known and 0 in wanted:
            return None
        key = wanted if known else (node.inputs[1], attribute(node, "allowzero", 0))
        return dims(self._reshaped.setdefault((tuple(x), key), node.outputs[0]))

    @cached_property
    def _holders(self) -> dict[str, dict[ir.Value, None]]:
        """Values by the names of their dimensions; not those of nodes that are added later."""
        holders: dict[str, dict[ir.Value, None]] = {}
        for graph in graphs(self._model):
            values = (value for node in graph for value in node.outputs)
            for value in (*graph.inputs, *values):
                for size in dims(value) or ():
                    if isinstance(size, str):
                        holders.setdefault(size, {})[value] = None
        return holders


def learn(names: Names, node: ir.Node, target: Contents | None) -> bool:
    """Find out which sizes of a node's output are those of its inputs, and name them so.

    Parameters
    ----------
    names : Names
        Of the model.
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
        return _equate_concatenated(names, node)
    sizes: Sequence[Size] | None = None
    if operator.broadcasts:
        sizes = broadcast_sizes([None if x is None else dims(x) for x in node.inputs])
    elif operator.shape is not None:
        sizes = operator.shape(node, target)
    if node.op_type == "Reshape" and (sizes is None or None in sizes):
        alike = names.alike(node, target) or sizes
        sizes = alike if sizes is None else _either(sizes, alike or sizes)
    if sizes is None:
        return False
    if node.outputs[0].shape is None:
        names.describe(node.outputs[0], sizes)
    return equate(names, node.outputs[0], sizes)


def _either(sizes: Sequence[Size], others: Sequence[Size]) -> list[Size]:
    """Sizes of one value by two ways to know them."""
    return [b if a is None else a for a, b in zip(sizes, others, strict=True)]


def equate(names: Names, value: ir.Value, sizes: Sequence[Size]) -> bool:
    """Let what is known of a value's sizes hold for their names, wherever they are.

    Returns
    -------
    bool
        A number was learnt: more may follow from it.
    """
    before = dims(value)
    if before is None or len(sizes) != len(before):
        return False
    if names.is_input(value):
        return False
    for old, new in zip(before, sizes, strict=True):
        if new is not None and isinstance(old, str) and old != new and old not in names.fixed:
            names.rename(old, new)
    renamed = dims(value)
    assert renamed is not None
    merged = [old if new is None else new for old, new in zip(renamed, sizes, strict=True)]
    if merged != renamed:
        names.describe(value, merged)
    changes = zip(before, merged, strict=True)
    return any(isinstance(new, int) for old, new in changes if old != new)


def _equate_concatenated(names: Names, node: ir.Node) -> bool:
    """Let all that is concatenated have the same sizes along the other axes."""
    shapes = [None if value is None else dims(value) for value in node.inputs]
    known = [shape for shape in shapes if shape is not None]
    if not known or len(known) < len(shapes) or len({len(shape) for shape in known}) > 1:
        return False

    def order(size: Size) -> tuple[bool, bool]:  # numbers before names, of these the model's first
        return not isinstance(size, int), size not in names.fixed

    common = [min(column, key=order) for column in zip(*known, strict=True)]
    axis = attribute(node, "axis", 0)
    if not are_axes([axis], len(common)):
        return False
    common[axis] = None
    learnt = any([equate(names, value, common) for value in node.inputs if value is not None])
    along = [dims(value)[axis] for value in node.inputs if value is not None]  # type: ignore[index]
    common[axis] = functools.reduce(add_sizes, along)
    return equate(names, node.outputs[0], common) or learnt
