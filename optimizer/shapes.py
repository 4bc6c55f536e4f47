"""Shape computations: what Shape, Gather, Concat and the like make of known sizes.

Numbers become constants, and equal sizes that are known by name are computed once.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property

import numpy as np
import onnx_ir as ir

from ..custom_inference import infer
from .edits import insert, new_constant, replace
from .operators import lookup
from .operators.record import Contents
from .report import Report
from .sizes import LIMIT, constant_contents, evaluate
from .symbols import Names, learn
from .values import attribute, dims, graphs


def fold_shapes(model: ir.Model, report: Report) -> int:
    """Replace computations on known sizes by constants, in the graph and its subgraphs."""
    names = Names(model)
    folders = [_Folder(model, graph, names) for graph in graphs(model)]
    count = sum(folder.fold() for folder in folders)
    if any(folder.learnt for folder in folders):
        infer(model)
    return count


class _Folder:
    """Follows sizes through the nodes of a graph, in order.

    ``learnt`` tells whether the number of a size was found out: more may follow from it.
    """

    def __init__(self, model: ir.Model, graph: ir.Graph, names: Names) -> None:
        self._model, self._graph, self._names = model, graph, names
        self._known: dict[ir.Value, Contents] = {}
        self._first: dict[Hashable, ir.Value] = {}
        self.learnt = False

    def fold(self) -> int:
        """Fold the graph; returns the number of nodes that changed."""
        nodes = [node for node in self._graph if len(node.outputs) == 1 and not node.domain]
        return sum(self._fold(node) for node in nodes)

    def _read(self, value: ir.Value | None) -> Contents | None:
        return self._known[value] if value in self._known else constant_contents(value)

    def _fold(self, node: ir.Node) -> bool:
        index = lookup(node).shape_input
        has_target = index is not None and index < len(node.inputs)
        changed = has_target and self._fold_target(node)
        target = self._read(node.inputs[index]) if has_target else None  # type: ignore[index]
        self.learnt |= learn(self._names, node, target)
        if node.op_type == "Shape" and self._measure_inputs(node):
            return True
        contents = evaluate(node, self._read)
        if contents is None or contents.size > LIMIT:
            return changed
        self._known[node.outputs[0]] = contents
        return self._replace(node, contents) or changed

    def _replace(self, node: ir.Node, contents: Contents) -> bool:
        """Replace a node by a constant, or by the first value with the same contents."""
        output = node.outputs[0]
        if output.dtype is None or output.is_graph_output() or contents.ndim > 1:
            return False
        if output.dtype.is_floating_point():
            return False
        items = tuple(contents.reshape(-1))
        if all(isinstance(item, int) for item in items):
            array = contents.astype(np.int64).astype(output.dtype.numpy())
            return replace(node, new_constant(self._graph, array, f"{output.name}.folded"))
        if None in items:
            return False
        first = self._first.setdefault((output.dtype, contents.shape, items), output)
        return first is not output and replace(node, first)

    def _fold_target(self, node: ir.Node) -> bool:
        """Make the target of a Reshape constant, with 0 and -1 for what is only known by name."""
        if node.op_type != "Reshape":
            return False
        x, target = node.inputs[:2]
        contents = None if target is None else self._known.get(target)
        if x is None or contents is None:
            return False
        if attribute(node, "allowzero", 0):
            return False
        sizes = dims(x)
        made = dims(node.outputs[0]) or [None] * len(contents)
        items: list[int | None] = []
        for axis, item in enumerate(contents):
            copied = sizes is not None and axis < len(sizes) and sizes[axis] == item
            number = item if isinstance(item, int) and item != 0 else None
            if number == -1 and isinstance(size := made[axis], int) and size:
                number = size  # which leaves -1 to one that has a name
            items.append(0 if copied and isinstance(item, str) else number)
        if items.count(None) > 1 or (None in items and -1 in items):
            return False
        array = np.array([-1 if item is None else item for item in items], np.int64)
        shape = new_constant(self._graph, array, f"{node.outputs[0].name}.shape")
        node.replace_input_with(1, shape)
        return True

    def _measure_inputs(self, node: ir.Node) -> bool:
        """Read sizes off the model's inputs, so that a value that is computed need not stay."""
        x, sizes = node.inputs[0], evaluate(node, self._read)
        if x is None or x.producer() is None or len(x.uses()) < 2 or sizes is None:
            return False
        if self._graph is not self._model.graph or self._model.opset_imports.get("", 1) < 15:
            return False  # Shape gives a part of the sizes since opset 15
        inputs = self._inputs_by_size
        if node.outputs[0].is_graph_output() or not sizes.size:
            return False
        if not all(isinstance(size, int) or size in inputs for size in sizes):
            return False
        parts: list[ir.Value] = []
        nodes: list[ir.Node] = []
        for size in sizes:
            name = f"{x.name}.size"
            if isinstance(size, int):
                parts.append(new_constant(self._graph, np.array([size], np.int64), name))
                continue
            value, axis = inputs[size]
            limits = {"start": axis, "end": axis + 1}
            nodes.append(ir.node("Shape", [value], limits, name=f"{node.name}.size"))
            parts.append(nodes[-1].outputs[0])
        nodes.append(ir.node("Concat", parts, {"axis": 0}, name=node.name))
        for new in nodes:
            new.outputs[0].type = node.outputs[0].type
            new.outputs[0].shape = ir.Shape([1])
        nodes[-1].outputs[0].shape = node.outputs[0].shape
        insert(node, nodes)
        return replace(node, nodes[-1].outputs[0])

    @cached_property
    def _inputs_by_size(self) -> dict[str, tuple[ir.Value, int]]:
        """Inputs of the model, and their axes, by the names of their dimensions."""
        inputs: dict[str, tuple[ir.Value, int]] = {}
        for value in self._model.graph.inputs:
            sizes = dims(value)
            if sizes is not None:
                named = [(size, axis) for axis, size in enumerate(sizes) if isinstance(size, str)]
                inputs.update({size: (value, axis) for size, axis in named})
        return inputs
