"""Edits of a graph: replacing values and nodes, adding constants, moving bodies out."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping

import numpy as np
import onnx_ir as ir

from ..notes import PRECISION_NOTE
from .values import subgraphs


def can_replace(node: ir.Node, value: ir.Value) -> bool:
    """Tell whether a value that is in the graph may replace a node's only output.

    An output of the graph keeps its name and its producer: what replaces it must be made in the
    same graph and be no output itself.
    """
    if not node.outputs[0].is_graph_output():
        return True
    producer = value.producer()
    same_graph = producer is not None and producer.graph is node.graph
    return same_graph and not value.is_graph_output()


def replace(node: ir.Node, value: ir.Value) -> bool:
    """Replace a node's only output by ``value``, and remove the node; False when it cannot be."""
    if not can_replace(node, value):
        return False
    replace_output(node.outputs[0], value)
    remove(node)
    return True


def replace_output(output: ir.Value, value: ir.Value) -> None:
    """Replace a node's output by a value of the same graph; the node stays.

    An output of the graph keeps its name.
    """
    if output.is_graph_output():
        name, output.name = output.name, f"{output.name}.replaced"
        value.name = name
        value.type = value.type or output.type
    if value.shape is None:
        value.shape = output.shape
    replace_uses(output, value)


def replace_uses(old: ir.Value, new: ir.Value) -> None:
    """Let all nodes that read a value, and the graph if it returns it, have another instead."""
    if old.is_graph_output():
        assert old.graph is not None
        outputs = old.graph.outputs
        while old.is_graph_output():
            outputs[outputs.index(old)] = new
    changes: dict[ir.Node, dict[int, ir.Value | None]] = {}
    for node, index in old.uses():
        changes.setdefault(node, {})[index] = new
    for node, inputs in changes.items():
        set_inputs(node, inputs)


def set_dtype(value: ir.Value, dtype: ir.DataType) -> None:
    """Give a value of a known type another type of elements; copies of its model share the old."""
    value.type = copy.copy(value.type)
    value.dtype = dtype


# onnx_ir's own functions copy all inputs of a node for each that is replaced, and all outputs of a
# graph for each node that is removed: time that grows with the square of either.


def set_inputs(node: ir.Node, changes: Mapping[int, ir.Value | None]) -> None:
    """Replace inputs of a node, given by their indices."""
    inputs = list(node.inputs)
    for index, new in changes.items():
        old, inputs[index] = inputs[index], new
        if old is not None:
            old._remove_usage(node, index)
        if new is not None:
            new._add_usage(node, index)
    node._inputs = tuple(inputs)


def remove(node: ir.Node) -> None:
    """Remove a node whose results nothing reads from its graph; it reads nothing any more."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    assert not any(value.uses() or value.is_graph_output() for value in node.outputs)
    detach(node)
    node.graph = None
    graph._nodes.remove(node)


def detach(node: ir.Node) -> None:
    """Let a node read nothing."""
    set_inputs(node, dict.fromkeys(range(len(node.inputs))))


def move_initializers(body: ir.Graph, node: ir.Node, prefix: str) -> None:
    """Move the initializers of a subgraph into the graph of a node outside."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    for value in list(body.initializers.values()):
        body.initializers.pop(str(value.name))
        value.name = f"{prefix}{value.name}"
        register(graph, value)


def move_nodes(body: ir.Graph, node: ir.Node, prefix: str) -> None:
    """Move the nodes of a subgraph, whose outputs are cleared, in front of a node outside."""
    nodes = list(body)
    for inner in nodes:
        body.remove(inner)
        inner.name = f"{prefix}{inner.name}"
        for value in inner.outputs:
            value.name = f"{prefix}{value.name}"
    insert(node, nodes)


def remove_with_body(node: ir.Node) -> None:
    """Remove a node with subgraphs, whose nodes then use nothing from outside any more."""
    for body in subgraphs(node):
        for inner in body.all_nodes():
            detach(inner)
    remove(node)


def make_constant(array: np.ndarray, name: str) -> ir.Value:
    """Make a constant that belongs to no graph yet."""
    tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
    shape = ir.Shape(array.shape)
    return ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=tensor)


def register(graph: ir.Graph, value: ir.Value) -> None:
    """Make a constant an initializer of a graph, under a name that none there has yet."""
    name, number = value.name, 1
    while value.name in graph.initializers:
        value.name, number = f"{name}.{number}", number + 1
    graph.register_initializer(value)


def keep_precision(old: Iterable[ir.Node], new: Iterable[ir.Node]) -> None:
    """Let a new convolution or product have the note of the precision of one that it replaces."""
    notes = [each.metadata_props.get(PRECISION_NOTE, "") for each in old]
    for node in new if any(notes) else ():
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            node.metadata_props[PRECISION_NOTE] = max(notes)


def new_constant(graph: ir.Graph, array: np.ndarray, name: str) -> ir.Value:
    """Add an initializer to a graph under a name that none there has yet."""
    value = make_constant(array, name)
    register(graph, value)
    return value


def insert(before: ir.Node, nodes: Iterable[ir.Node]) -> None:
    """Insert nodes in front of another."""
    assert before.graph is not None
    before.graph.insert_before(before, list(nodes))
