"""Values of a graph: their contents and sizes, and how one takes the place of another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import onnx_ir as ir


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Contents of a value when it is constant, else None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy()).reshape(value.const_value.shape.numpy())


def scalar(value: ir.Value | None) -> float | None:
    """Number in a constant of one element, else None."""
    array = constant(value)
    if array is None or array.size != 1 or array.dtype.kind not in "fiu":
        return None
    return float(array.reshape(-1)[0])


def integers(value: ir.Value | None) -> list[int] | None:
    """Contents of a constant vector of integers, else None."""
    array = constant(value)
    if array is None or array.dtype.kind not in "iu" or array.ndim > 1:
        return None
    return [int(item) for item in array.reshape(-1)]


Size: TypeAlias = int | str | None
"""Size of an axis: a number, the name of a dimension, or None where nothing is known."""


def dims(value: ir.Value) -> list[Size] | None:
    """Sizes of a value: a number, a name, or None where nothing is known; None without a rank."""
    if value.shape is None:
        return None
    return [dim if isinstance(dim, int) else _name(dim.value) for dim in value.shape]


def _name(label: str | None) -> str | None:
    """Name of a dimension; "?" and the like are exporters' way of giving none."""
    return label if label and label.strip("?-_ ") else None


def rank(value: ir.Value | None) -> int | None:
    """Number of axes of a value, where it is known."""
    return None if value is None or value.shape is None else len(value.shape)


def static_shape(value: ir.Value) -> tuple[int, ...] | None:
    """Shape of a value when it is wholly known."""
    sizes = dims(value)
    if sizes is None:
        return None
    numbers = tuple(size for size in sizes if isinstance(size, int))
    return numbers if len(numbers) == len(sizes) else None


def attribute(node: ir.Node, name: str, default: int) -> int:
    """Integer attribute of a node."""
    return node.attributes[name].as_int() if name in node.attributes else default


def axes_of(node: ir.Node) -> list[int] | None:
    """Axes of a reduction, Squeeze or Unsqueeze, by an attribute or a constant second input."""
    if "axes" in node.attributes:
        return list(node.attributes["axes"].as_ints())
    return integers(node.inputs[1]) if len(node.inputs) > 1 else None


def used_once(value: ir.Value) -> bool:
    """Tell whether one node, and nothing else, reads a value."""
    return len(value.uses()) == 1 and not value.is_graph_output()


def can_replace(node: ir.Node, value: ir.Value) -> bool:
    """Tell whether a value that is in the graph may take the place of a node's only output.

    An output of the graph keeps its name and its producer: what replaces it must be made in the
    same graph and be no output itself.
    """
    if not node.outputs[0].is_graph_output():
        return True
    producer = value.producer()
    same_graph = producer is not None and producer.graph is node.graph
    return same_graph and not value.is_graph_output()


def replace(node: ir.Node, value: ir.Value) -> bool:
    """Let ``value`` take the place of a node's only output; False when it cannot."""
    output = node.outputs[0]
    graph = node.graph
    assert graph is not None
    if not can_replace(node, value):
        return False
    replace_output(output, value)
    graph.remove(node, safe=True)
    return True


def replace_output(output: ir.Value, value: ir.Value) -> None:
    """Let a value of the same graph take the place of a node's output; the node stays.

    An output of the graph keeps its name.
    """
    if output.is_graph_output():
        name, output.name = output.name, f"{output.name}.replaced"
        value.name = name
        value.type = value.type or output.type
    if value.shape is None:
        value.shape = output.shape
    output.replace_all_uses_with(value, replace_graph_outputs=True)


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """Graphs among the attributes of a node."""
    for item in node.attributes.values():
        if item.type == ir.AttributeType.GRAPH:
            yield item.as_graph()
        elif item.type == ir.AttributeType.GRAPHS:
            yield from item.as_graphs()


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
