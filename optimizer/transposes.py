"""Transposes: they cancel when the nodes between them are computed in the other order of axes.

Networks from TensorFlow keep channels last, convolutions of ONNX take them second. Between two
convolutions there are often nodes that take any order: elementwise operators, reductions, Concat,
Pad, Reshape. Such nodes, as far as they are connected, form a region. Which of them change their
order, so that the fewest Transposes are left, is a minimum cut: a Transpose is needed wherever
the producer and the readers of a value have different orders.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .axes import reorder
from .blocks import as_reshape
from .cleanup import remove_unused
from .edits import insert, new_constant, remove, replace_output
from .min_cut import min_cut
from .movement import merge_transposes
from .operators.orders import inverse
from .operators.record import Order, Reordered
from .report import Report
from .values import constant, dims, graphs

_SINCE = 18  # the opset in which Softmax is along one axis, and axes are inputs


def cancel_transposes(model: ir.Model, report: Report) -> int:
    """Change the order of axes of regions; returns the number of regions."""
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return 0
    remove_unused(model.graph)  # a Transpose that nothing needs is no reason to move
    return sum(_cancel(graph, report) for graph in graphs(model))


def _cancel(graph: ir.Graph, report: Report) -> int:
    count = 0
    seen: set[tuple[ir.Value, Order]] = set()
    positions: dict[ir.Node, int] = {}
    for node in list(graph):
        for value, order in _starts(node):
            if node.graph is not graph or (value, order) in seen:
                continue
            region = _Region(graph, value, order)
            seen |= set(region.orders.items())
            chosen, before, after = region.choose()
            if after < before:
                if not chosen <= positions.keys():  # nodes that were put there since
                    positions = {each: index for index, each in enumerate(graph)}
                region.rewrite(sorted(chosen, key=positions.__getitem__))
                count += 1
                others = f" and {len(chosen) - 1} more nodes" if len(chosen) > 1 else ""
                first = next(each.name for each in region.plans if each in chosen)
                report.explain(
                    f"order of axes changed in {first!r}{others}: {before[0] - after[0]} "
                    f"Transpose fewer"
                )
    return count


def _starts(node: ir.Node) -> list[tuple[ir.Value, Order]]:
    """Values from which a region may grow: both sides of a Transpose, each in the other's order."""
    order = _order(node)
    if order is None or node.inputs[0] is None or constant(node.inputs[0]) is not None:
        return []
    return [(node.outputs[0], order), (node.inputs[0], inverse(order))]


def _order(node: ir.Node | None) -> Order | None:
    """Order that a Transpose undoes; None of anything else."""
    if node is None or node.op_type != "Transpose" or node.domain or "perm" not in node.attributes:
        return None
    return tuple(node.attributes["perm"].as_ints())


_OLD, _NEW = "the old order", "the new order"
_Pin = ir.Node | str
_TRANSPOSE, _RESHAPE = 1 << 20, 1  # no number of reshapes costs as much as a Transpose


class _Region:
    """Connected nodes that can be computed in the orders of axes that follow from one value's."""

    def __init__(self, graph: ir.Graph, start: ir.Value, order: Order) -> None:
        self.graph = graph
        self.plans: dict[ir.Node, Reordered] = {}
        self.orders: dict[ir.Value, Order] = {start: order}
        self._grow(start)

    def _grow(self, start: ir.Value) -> None:
        queue = [start]
        while queue:
            value = queue.pop()
            producer = value.producer()
            neighbours = [use.node for use in value.uses()]
            neighbours += [producer] if producer is not None else []
            for node in neighbours:
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
                queue += [v for v in new if not _is_same(plan.orders[v])]

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
            if len(pins) > 1 and not (_OLD in pins and _NEW in pins):
                is_reshape = as_reshape(dims(value), inverse(order)) is not None
                edges.append((list(pins), _RESHAPE if is_reshape else _TRANSPOSE))
        chosen = min_cut(edges, _NEW, _OLD)
        before = after = 0
        for ends, weight in edges:
            before += weight * (_NEW in ends)
            after += weight * (0 < sum(end in chosen for end in ends) < len(ends))
        nodes = {node for node in self.plans if node in chosen}
        return nodes, divmod(before, _TRANSPOSE), divmod(after, _TRANSPOSE)

    def _pins(self, value: ir.Value) -> dict[_Pin, None]:
        """Producer and readers of a value that are in the region, and orders that others need."""
        inverse_order = inverse(self.orders[value])
        producer = value.producer()
        pins: dict[_Pin, None] = {_OLD: None} if value.is_graph_output() else {}
        if producer in self.plans:
            pins[producer] = None
        elif _order(producer) is None or producer.graph is not self.graph:  # type: ignore[union-attr]
            pins[_OLD] = None
        elif _order(producer) == self.orders[value]:
            pins[_NEW] = None
        for node in (use.node for use in value.uses()):
            if node in self.plans:
                pins[node] = None
            elif node.graph is not self.graph or not _is_indifferent(node):
                pins[_OLD] = None
            elif _order(node) == inverse_order:
                pins[_NEW] = None
        return pins

    def rewrite(self, nodes: list[ir.Node]) -> None:
        """Replace nodes, given in order, with Transposes around them where others are left."""
        chosen = set(nodes)
        moved: dict[ir.Value, ir.Value] = {}
        for node in nodes:
            reordered = self._reordered(node, moved)
            for old, new in zip(node.outputs, reordered.outputs, strict=True):
                _describe(new, old, inverse(self.orders.get(old, ())))
                moved[old] = new
        for node in nodes:
            for old in node.outputs:
                if old.is_graph_output() or any(use.node not in chosen for use in old.uses()):
                    self._leave(old, moved[old], node)
        producers = [value.producer() for value in moved]
        for node in reversed(nodes):
            remove(node)
        for producer in producers:
            self._remove_unused(producer)

    def _leave(self, old: ir.Value, new: ir.Value, node: ir.Node) -> None:
        """Let readers outside the region read a new value, transposed where its order differs."""
        order = self.orders.get(old, ())
        if _is_same(order):
            replace_output(old, new)
            return
        result = _transposed(new, order, node)
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
            remove(node)  # type: ignore[arg-type]

    def _reordered(self, node: ir.Node, moved: dict[ir.Value, ir.Value]) -> ir.Node:
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
        merged = {**node.attributes, **plan.attributes}
        attributes = {name: item for name, item in merged.items() if item is not None}
        op_type, count = plan.op_type or node.op_type, len(node.outputs)
        reordered = ir.node(op_type, inputs, attributes, name=node.name, num_outputs=count)
        insert(node, [reordered])
        return reordered

    def _gathered(self, value: ir.Value, order: Order, node: ir.Node) -> ir.Value:
        name = f"{node.outputs[0].name}.order"
        indices = new_constant(self.graph, np.array(order, np.int64), name)
        gather = ir.node("Gather", [value, indices])
        _describe(gather.outputs[0], value, (0,))
        insert(node, [gather])
        return gather.outputs[0]

    def _entering(self, value: ir.Value, node: ir.Node) -> ir.Value:
        """Bring a value from outside into its order in the region."""
        producer = value.producer()
        if _order(producer) == self.orders[value] and producer.graph is self.graph:  # type: ignore[union-attr]
            return producer.inputs[0]  # type: ignore[union-attr, return-value]
        return _transposed(value, inverse(self.orders[value]), node)


def _transposed(value: ir.Value, layout: Order, node: ir.Node) -> ir.Value:
    """Transpose a value in front of a node."""
    transpose = ir.node("Transpose", [value], {"perm": layout})
    _describe(transpose.outputs[0], value, layout)
    insert(node, [transpose])
    return transpose.outputs[0]


def _describe(new: ir.Value, old: ir.Value, layout: Order) -> None:
    new.name, new.type = f"{str(old.name).removesuffix('.moved')}.moved", old.type
    if old.shape is not None and len(old.shape) == len(layout):
        new.shape = ir.Shape([old.shape[axis] for axis in layout])


def _is_same(order: Order) -> bool:
    return order == tuple(range(len(order)))


def _is_indifferent(node: ir.Node) -> bool:
    """Tell whether a node takes any order: a Transpose merges with another, Shape is gathered."""
    return (node.op_type == "Shape" and not node.domain) or _order(node) is not None
