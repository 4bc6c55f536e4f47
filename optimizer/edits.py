"""Edits of a graph: replacing values and nodes, adding constants, moving bodies out."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

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
    output = node.outputs[0]
    graph = node.graph
    assert graph is not None
    if not can_replace(node, value):
        return False
    replace_output(output, value)
    graph.remove(node, safe=True)
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
    output.replace_all_uses_with(value, replace_graph_outputs=True)


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
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)
    assert node.graph is not None
    node.graph.remove(node, safe=True)


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


def new_constant(graph: ir.Graph, array: np.ndarray, name: str) -> ir.Value:
    """Add an initializer to a graph under a name that none there has yet."""
    value = make_constant(array, name)
    register(graph, value)
    return value


def insert(before: ir.Node, nodes: Iterable[ir.Node]) -> None:
    """Insert nodes in front of another."""
    assert before.graph is not None
    before.graph.insert_before(before, list(nodes))
