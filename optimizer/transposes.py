"""Transposes vanish when what lies between them is computed in the other order of axes.

Networks from TensorFlow keep channels last, convolutions of ONNX want them second. Between two
convolutions often lies what takes any order: functions of each element, reductions, Concat, Pad,
Reshape. Such nodes, as far as they hang together, form a region. Which of them change their
order, so that the fewest Transposes are left, is a least cut: a Transpose is needed wherever
what makes a value and what reads it want different orders.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

from .axes import reorder
from .blocks import as_reshape
from .min_cut import min_cut
from .movement import merge_transposes
from .operators.orders import inverse
from .operators.record import Order, Reordered
from .report import Report
from .values import constant, dims, insert, new_constant, replace_output

_SINCE = 18  # the opset in which Softmax is along one axis, and axes are inputs


def cancel_transposes(model: ir.Model, report: Report) -> int:
    """Change the order of axes of regions; returns the number of regions."""
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return 0
    common.RemoveUnusedNodesPass()(model)  # a Transpose that nothing needs is no reason to move
    return sum(_cancel(graph, report) for graph in model.graphs())


def _cancel(graph: ir.Graph, report: Report) -> int:
    count = 0
    seen: set[tuple[ir.Value, Order]] = set()
    for node in list(graph):
        for value, order in _starts(node):
            if node.graph is not graph or (value, order) in seen:
                continue
            region = _Region(graph, value, order)
            seen |= set(region.orders.items())
            chosen, before, after = region.choose()
            if after < before:
                region.rewrite(chosen)
                count += 1
                others = f" and {len(chosen) - 1} more nodes" if len(chosen) > 1 else ""
                first = next(each.name for each in region.plans if each in chosen)
                report.explain(
                    f"order of axes changed in {first!r}{others}: {before[0] - after[0]} "
                    f"Transpose fewer"
                )
    return count


def _starts(node: ir.Node) -> list[tuple[ir.Value, Order]]:
    """Where a region may begin: on either side of a Transpose, in the order of the other side."""
    order = _order(node)
    if order is None or node.inputs[0] is None or constant(node.inputs[0]) is not None:
        return []
    return [(node.outputs[0], order), (node.inputs[0], inverse(order))]


def _order(node: ir.Node | None) -> Order | None:
    """Order that a Transpose undoes; None of anything else."""
    if node is None or node.op_type != "Transpose" or node.domain or "perm" not in node.attributes:
        return None
    return tuple(node.attributes["perm"].as_ints())


_KEPT, _MOVED = "the old order", "the new order"
_Pin = ir.Node | str
_TRANSPOSE, _RESHAPE = 1 << 20, 1  # no number of reshapes is as bad as a Transpose


class _Region:
    """Nodes that can be computed in the orders of axes that follow from that of one value."""

    def __init__(self, graph: ir.Graph, start: ir.Value, order: Order) -> None:
        self.graph = graph
        self.plans: dict[ir.Node, Reordered] = {}
        self.orders: dict[ir.Value, Order] = {start: order}
        self._grow(start)

    def _grow(self, start: ir.Value) -> None:
        todo = [start]
        while todo:
            value = todo.pop()
            producer = value.producer()
            near = [*(use.node for use in value.uses()), *([producer] if producer else [])]
            for node in near:
                if node in self.plans or node.graph is not self.graph:
                    continue
                plan = reorder(node, value, self.orders[value])
                if plan is None or any(self.orders.get(v, o) != o for v, o in plan.orders.items()):
                    continue
                if len(node.outputs) > 1 and any(v.is_graph_output() for v in node.outputs):
                    continue
                self.plans[node] = plan
                new = [v for v in plan.orders if v not in self.orders]
                self.orders.update(plan.orders)
                todo += [v for v in new if not _is_same(plan.orders[v])]

    def choose(self) -> tuple[set[ir.Node], tuple[int, int], tuple[int, int]]:
        """Find the nodes that change.

        Returns
        -------
        (set of ir.Node, (int, int), (int, int))
            The nodes, and how many Transposes there are before and after, of which the second
            number are no more than reshapes.
        """
        edges: list[tuple[list[_Pin], int]] = []
        for value, order in self.orders.items():
            pins = {} if _is_same(order) else self._pins(value)
            if len(pins) > 1 and not (_KEPT in pins and _MOVED in pins):
                is_reshape = as_reshape(dims(value), inverse(order)) is not None
                edges.append((list(pins), _RESHAPE if is_reshape else _TRANSPOSE))
        chosen = min_cut(edges, _MOVED, _KEPT)
        before = after = 0
        for ends, weight in edges:
            before += weight * (_MOVED in ends)
            after += weight * (0 < sum(end in chosen for end in ends) < len(ends))
        found = {node for node in self.plans if node in chosen}
        return found, divmod(before, _TRANSPOSE), divmod(after, _TRANSPOSE)

    def _pins(self, value: ir.Value) -> dict[_Pin, None]:
        """All that makes or reads a value: nodes of the region, or the order that it must have."""
        back = inverse(self.orders[value])
        producer = value.producer()
        pins: dict[_Pin, None] = {_KEPT: None} if value.is_graph_output() else {}
        if producer in self.plans:
            pins[producer] = None
        elif _order(producer) is None or producer.graph is not self.graph:  # type: ignore[union-attr]
            pins[_KEPT] = None
        elif _order(producer) == self.orders[value]:
            pins[_MOVED] = None
        for node in (use.node for use in value.uses()):
            if node in self.plans:
                pins[node] = None
            elif node.graph is not self.graph or not _is_indifferent(node):
                pins[_KEPT] = None
            elif _order(node) == back:
                pins[_MOVED] = None
        return pins

    def rewrite(self, chosen: set[ir.Node]) -> None:
        """Replace the chosen nodes, with Transposes around them where others are left."""
        nodes = [node for node in self.graph if node in chosen]
        moved: dict[ir.Value, ir.Value] = {}
        for node in nodes:
            made = self._made(node, moved)
            for old, new in zip(node.outputs, made.outputs, strict=True):
                _describe(new, old, inverse(self.orders.get(old, ())))
                moved[old] = new
        for node in nodes:
            for old in node.outputs:
                if old.is_graph_output() or any(use.node not in chosen for use in old.uses()):
                    self._leave(old, moved[old], node)
        before = [value.producer() for value in moved]
        for node in reversed(nodes):
            self.graph.remove(node, safe=True)
        for producer in before:
            self._remove_unused(producer)

    def _leave(self, old: ir.Value, new: ir.Value, node: ir.Node) -> None:
        """Let what is outside read a new value, transposed where it must be."""
        order = self.orders.get(old, ())
        if _is_same(order):
            replace_output(old, new)
            return
        result = _turned(new, order, node)
        replace_output(old, result)
        for reader in [use.node for use in result.uses()]:
            if _order(reader) is not None and reader.graph is self.graph:
                merge_transposes(self.graph, reader)
        self._remove_unused(result.producer())

    def _remove_unused(self, node: ir.Node | None) -> None:
        """Remove a Transpose that nothing reads: it would be a reason to move back."""
        if _order(node) is None or node.graph is not self.graph:  # type: ignore[union-attr]
            return
        if not (node.outputs[0].uses() or node.outputs[0].is_graph_output()):  # type: ignore[union-attr]
            self.graph.remove(node, safe=True)  # type: ignore[arg-type]

    def _made(self, node: ir.Node, moved: dict[ir.Value, ir.Value]) -> ir.Node:
        plan = self.plans[node]
        inputs = [*node.inputs]
        inputs += [None] * (max(plan.constants, default=0) + 1 - len(inputs))
        for i, value in enumerate(inputs):
            if i in plan.constants:
                name = f"{node.outputs[0].name}.{i}"
                inputs[i] = new_constant(self.graph, plan.constants[i], name)
            elif value is None:
                continue
            elif i in plan.gathered:
                inputs[i] = self._gathered(value, plan.gathered[i], node)
            elif value in plan.orders:
                if value not in moved:
                    moved[value] = self._entering(value, node)
                inputs[i] = moved[value]
        kept = {**node.attributes, **plan.attributes}
        kept = {name: item for name, item in kept.items() if item is not None}
        op_type, count = plan.op_type or node.op_type, len(node.outputs)
        made = ir.node(op_type, inputs, kept, name=node.name, num_outputs=count)
        insert(node, [made])
        return made

    def _gathered(self, value: ir.Value, order: Order, node: ir.Node) -> ir.Value:
        name = f"{node.outputs[0].name}.order"
        places = new_constant(self.graph, np.array(order, np.int64), name)
        made = ir.node("Gather", [value, places])
        _describe(made.outputs[0], value, (0,))
        insert(node, [made])
        return made.outputs[0]

    def _entering(self, value: ir.Value, node: ir.Node) -> ir.Value:
        """Bring a value from outside into its order in the region."""
        producer = value.producer()
        if _order(producer) == self.orders[value] and producer.graph is self.graph:  # type: ignore[union-attr]
            return producer.inputs[0]  # type: ignore[union-attr, return-value]
        return _turned(value, inverse(self.orders[value]), node)


def _turned(value: ir.Value, layout: Order, node: ir.Node) -> ir.Value:
    """Transpose a value in front of a node."""
    made = ir.node("Transpose", [value], {"perm": layout})
    _describe(made.outputs[0], value, layout)
    insert(node, [made])
    return made.outputs[0]


def _describe(new: ir.Value, old: ir.Value, layout: Order) -> None:
    new.name, new.type = f"{str(old.name).removesuffix('.moved')}.moved", old.type
    if old.shape is not None and len(old.shape) == len(layout):
        new.shape = ir.Shape([old.shape[axis] for axis in layout])


def _is_same(order: Order) -> bool:
    return order == tuple(range(len(order)))


def _is_indifferent(node: ir.Node) -> bool:
    """Tell whether a node takes any order: another Transpose joins it, sizes are gathered."""
    return (node.op_type == "Shape" and not node.domain) or _order(node) is not None
