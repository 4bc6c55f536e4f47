"""Transposes vanish when what lies between them is computed in the other order of axes.

Networks from TensorFlow keep channels last, convolutions of ONNX want them second. Between two
convolutions often lies what takes any order: functions of each element, reductions, Concat, Pad.
Such nodes, as far as they hang together, form a region. It changes its order as a whole, when
fewer Transposes are left then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from .axes import Moved, move_axes
from .values import constant, dims, insert, new_constant, replace

if TYPE_CHECKING:
    from .pipeline import Report

_SINCE = 18  # the opset in which Softmax is along one axis, and axes are inputs


def cancel_transposes(model: ir.Model, report: Report) -> int:
    """Change the order of axes of regions; returns the number of Transposes saved."""
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return 0
    return sum(_cancel(graph, report) for graph in model.graphs())


def _cancel(graph: ir.Graph, report: Report) -> int:
    saved = 0
    seen: set[tuple[ir.Value, tuple[int, ...]]] = set()
    for node in list(graph):
        if node.graph is not graph or node.op_type != "Transpose" or node.domain:
            continue
        order = _order(node)
        if order is None or (node.outputs[0], order) in seen:
            continue
        region = _Region(graph, node.outputs[0], order)
        seen |= {(value, order) for value in region.values}
        gain = region.gain()
        if region.plans and gain > 0:
            first = next(iter(region.plans)).name
            region.rewrite()
            saved += gain
            others = f" and {len(region.plans) - 1} more nodes" if len(region.plans) > 1 else ""
            report.explain(f"order of axes changed in {first!r}{others}: {gain} Transpose fewer")
    return saved


def _order(node: ir.Node) -> tuple[int, ...] | None:
    return tuple(node.attributes["perm"].as_ints()) if "perm" in node.attributes else None


def _transpose_before(value: ir.Value, graph: ir.Graph) -> ir.Node | None:
    node = value.producer()
    found = node is not None and node.op_type == "Transpose" and not node.domain
    return node if found and node is not None and node.graph is graph else None


class _Region:
    """Nodes that can be computed in the order of axes that a Transpose has before it."""

    def __init__(self, graph: ir.Graph, start: ir.Value, order: tuple[int, ...]) -> None:
        self.graph = graph
        self.order = order
        self.back = tuple(order.index(axis) for axis in range(len(order)))
        self.plans: dict[ir.Node, Moved] = {}
        self.values: dict[ir.Value, None] = {}  # a set that keeps its order
        self._grow(start)

    def _grow(self, start: ir.Value) -> None:
        todo = [start]
        while todo:
            value = todo.pop()
            if value in self.values:
                continue
            self.values[value] = None
            producer = value.producer()
            near = [*(use.node for use in value.uses()), *([producer] if producer else [])]
            for node in near:
                if node in self.plans or node.graph is not self.graph:
                    continue
                plan = move_axes(node, self.order)
                if plan is None or (producer is node and not plan.moves_outputs):
                    continue
                outputs = node.outputs if plan.moves_outputs else ()
                if len(node.outputs) > 1 and any(v.is_graph_output() for v in node.outputs):
                    continue
                self.plans[node] = plan
                todo += [*plan.data, *outputs]

    def _made_here(self, value: ir.Value) -> bool:
        return value.producer() in self.plans

    def _used_outside(self, value: ir.Value) -> list[ir.Node]:
        return [use.node for use in value.uses() if use.node not in self.plans]

    def gain(self) -> int:
        """Transposes that go, less those that come."""
        total = 0
        for value in self.values:
            outside = self._used_outside(value)
            if self._made_here(value):
                kept = [node for node in outside if node.op_type != "Transpose" or node.domain]
                total -= bool(kept) or value.is_graph_output()
                total += sum(_order(node) == self.back for node in outside if node not in kept)
                continue
            before = _transpose_before(value, self.graph)
            goes = before is not None and not outside and not value.is_graph_output()
            if before is not None and _order(before) == self.order:
                total += goes
            elif not goes and not self._is_reshape(value):
                total -= 1
        return total

    def _is_reshape(self, value: ir.Value) -> bool:
        """Tell whether only axes of size 1 change their places."""
        sizes = dims(value)
        if sizes is None or 0 in sizes or sum(not isinstance(size, int) for size in sizes) > 1:
            return False
        places = [place for place, size in zip(self.order, sizes, strict=True) if size != 1]
        return places == sorted(places)

    def rewrite(self) -> None:
        moved: dict[ir.Value, ir.Value] = {}
        for node in [node for node in self.graph if node in self.plans]:
            plan = self.plans[node]
            inputs = list(node.inputs)
            for i, value in enumerate(inputs):
                if i in plan.constants:
                    name = f"{node.outputs[0].name}.{i}"
                    inputs[i] = new_constant(self.graph, plan.constants[i], name)
                elif value is not None and constant(value) is None and i in plan.places:
                    if value not in moved:
                        moved[value] = self._enter(value, node)
                    inputs[i] = moved[value]
            made = ir.node(
                node.op_type,
                inputs,
                {**node.attributes, **plan.attributes},
                name=node.name,
                num_outputs=len(node.outputs),
            )
            insert(node, [made])
            self._leave(node, made, plan.moves_outputs, moved)

    def _enter(self, value: ir.Value, node: ir.Node) -> ir.Value:
        """Bring a value from outside into the order of the region."""
        before = _transpose_before(value, self.graph)
        if before is not None and _order(before) == self.order and before.inputs[0] is not None:
            return before.inputs[0]
        if before is None and self._is_reshape(value):
            sizes = [size if isinstance(size, int) else -1 for size in dims(value) or ()]
            target = np.array([sizes[axis] for axis in self.back], np.int64)
            shape = new_constant(self.graph, target, f"{value.name}.shape")
            made = ir.node("Reshape", [value, shape])
        else:
            made = ir.node("Transpose", [value], {"perm": self.back})
        self._describe(made.outputs[0], value, moves=True)
        insert(node, [made])
        return made.outputs[0]

    def _leave(
        self, node: ir.Node, made: ir.Node, moves: bool, moved: dict[ir.Value, ir.Value]
    ) -> None:
        """Let a new node take the place of an old one, with Transposes for those outside."""
        results = []
        for old, new in zip(node.outputs, made.outputs, strict=True):
            self._describe(new, old, moves)
            result = new
            if moves and (self._used_outside(old) or old.is_graph_output()):
                back = ir.node("Transpose", [new], {"perm": self.order})
                result = back.outputs[0]
                self._describe(result, old, moves=False)
                insert(node, [back])
            if moves:
                moved[result] = new
            results.append(result)
        if len(results) == 1:
            replace(node, results[0])
            return
        for old, result in zip(node.outputs, results, strict=True):
            old.replace_all_uses_with(result)
        self.graph.remove(node, safe=True)

    def _describe(self, new: ir.Value, old: ir.Value, moves: bool) -> None:
        new.name, new.type, new.shape = f"{old.name}.moved", old.type, old.shape
        if moves and old.shape is not None:
            new.shape = ir.Shape([old.shape[axis] for axis in self.back])
