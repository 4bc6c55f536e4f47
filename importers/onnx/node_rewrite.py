"""Rewrite of a node from one opset to the next, and the tables of functions that do it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx_ir as ir


class NotExpressible(Exception):
    """A node cannot be expressed in the next opset; the message says why."""


class NodeRewrite:
    """A copy of a node that is edited for the next opset, with nodes to insert before it.

    Attributes
    ----------
    taken
        Names of values, to which those of new ones are added.
    op_type, inputs, attributes, outputs
        The edited node (of the outputs, their number); changed by the adapter.
    """

    def __init__(self, node: ir.Node, version: int, taken: set[str]) -> None:
        self.node = node
        self.taken = taken
        self.version = version
        self.op_type = node.op_type
        self.inputs = list(node.inputs)
        self.attributes = dict(node.attributes)
        self.outputs = len(node.outputs)
        self.preceding: list[ir.Node] = []

    def emit(self, op_type: str, *inputs: ir.Value | None, **attributes: Any) -> ir.Value:
        """Put a node before this one, named after it and its operator; returns its output."""
        node = ir.node(op_type, inputs, attributes)
        stem = next((out.name for out in self.node.outputs if out.name), "unnamed")
        number = len(self.preceding)
        while (name := f"{stem}/opset{self.version}_{number}") in self.taken:
            number += 1
        self.taken.add(name)
        node.outputs[0].name = name
        node.name = f"{self.node.name or stem}/{self.node.op_type}/opset{self.version}_{number}"
        self.preceding.append(node)
        return node.outputs[0]

    def constant(self, values: Any, dtype: Any = np.int64) -> ir.Value:
        """Put a constant before this node; returns its value."""
        value = self.emit("Constant", value=ir.tensor(np.asarray(values, dtype)))
        value.dtype = ir.DataType.from_numpy(np.dtype(dtype))
        return value

    def take(self, name: str, default: Any = None) -> Any:
        """Remove an attribute; returns its value, or `default` where it is absent."""
        attribute = self.attributes.pop(name, None)
        if attribute is None:
            return default
        if attribute.is_ref():
            raise NotExpressible(f"its attribute {name!r} is a parameter of a function")
        return attribute.value

    def put(self, **attributes: Any) -> None:
        """Set attributes."""
        for name, value in attributes.items():
            self.attributes[name] = ir.convenience.convert_attribute(name, value)

    def rank(self, index: int) -> int:
        """Return the rank of an input, which must be known."""
        value = self.inputs[index]
        if value is None or value.shape is None:
            raise NotExpressible(f"the rank of its input {index} is not known")
        return len(value.shape)

    def constant_input(self, index: int) -> np.ndarray:
        """Return the values of an input, which must be constant."""
        value = self.inputs[index]
        tensor = ir.convenience.get_const_tensor(value) if value is not None else None
        if tensor is None:
            raise NotExpressible(f"its input {index} is not constant")
        return tensor.numpy()

    def dtype(self, index: int) -> np.dtype:
        """Return the element type of an input, which must be known."""
        value = self.inputs[index]
        if value is None or value.dtype is None:
            raise NotExpressible(f"the type of its input {index} is not known")
        return value.dtype.numpy()

    def drop_extra_outputs(self, why: str) -> None:
        """Drop outputs after the first; refuse where somebody reads them."""
        extra = self.node.outputs[1:]
        if any(out.uses() or out.is_graph_output() for out in extra):
            raise NotExpressible(f"an output other than its first is read: {why}")
        self.outputs = 1

    def finish(self) -> None:
        """Write the edited node into the graph."""
        node = self.node
        graph = node.graph
        assert graph is not None
        graph.insert_before(node, self.preceding)
        node.op_type = self.op_type
        node.resize_inputs(len(self.inputs))
        for index, value in enumerate(self.inputs):
            node.replace_input_with(index, value)
        node.resize_outputs(self.outputs)
        node.attributes.clear()
        node.attributes.update(self.attributes)

    def discard(self) -> None:
        """Drop the rewrite: its nodes no longer read anything."""
        for node in self.preceding:
            node.resize_inputs(0)


Adapter = Callable[[NodeRewrite], None]
AdapterTable = dict[tuple[int, str], Adapter]
"""Adapters by (opset, operator)."""


def register(table: AdapterTable, version: int, *op_types: str) -> Callable[[Adapter], Adapter]:
    """Register the adapter of some operators between opset `version` and the one before."""

    def decorator(function: Adapter) -> Adapter:
        for op_type in op_types:
            table[version, op_type] = function
        return function

    return decorator


def names_taken(graphs: Iterable[ir.Graph]) -> set[str]:
    """Names of all values in graphs and the graphs inside them."""
    names: set[str | None] = set()
    for outer in graphs:
        for graph in (outer, *outer.subgraphs()):
            names.update(value.name for value in graph.inputs)
            names.update(graph.initializers)
            names.update(value.name for node in graph for value in node.outputs)
    return {name for name in names if name}
