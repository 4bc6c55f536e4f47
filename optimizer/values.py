"""Values and nodes of a graph: contents, sizes, attributes and readers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from ..dimension_names import dimension_name


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


def are_axes(axes: Iterable[int], rank: int) -> bool:
    """Tell whether numbers name axes of a tensor that has so many."""
    return all(-rank <= axis < rank for axis in axes)


Size: TypeAlias = int | str | None
"""Size of an axis: a number, the name of a dimension, or None where nothing is known."""


def dims(value: ir.Value) -> list[Size] | None:
    """Sizes of a value: a number, a name, or None where nothing is known; None without a rank."""
    if value.shape is None:
        return None
    return [dim if isinstance(dim, int) else dimension_name(dim.value) for dim in value.shape]


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


_WITHOUT_BODIES = frozenset({"", "ai.onnx.ml"})
"""Domains of whose operators only those of `_WITH_BODIES` have graphs among their attributes."""
_WITH_BODIES = frozenset({"If", "Loop", "Scan", "SequenceMap"})


def graphs(model: ir.Model) -> Iterator[ir.Graph]:
    """Yield the graph of a model, then all inside it, outer ones first, as they are by then.

    ``ir.Model.graphs`` does the same, but walks through the attributes of all nodes, five times as
    long; passes ask for the graphs hundreds of times.
    """
    yield model.graph
    yield from list(_inner(model.graph))


def _inner(graph: ir.Graph) -> Iterator[ir.Graph]:
    for node in graph:
        if node.op_type in _WITH_BODIES or node.domain not in _WITHOUT_BODIES:
            for body in subgraphs(node):
                yield body
                yield from _inner(body)


def subgraphs(node: ir.Node) -> Iterator[ir.Graph]:
    """Graphs among the attributes of a node."""
    for item in node.attributes.values():
        if item.type == ir.AttributeType.GRAPH:
            yield item.as_graph()
        elif item.type == ir.AttributeType.GRAPHS:
            yield from item.as_graphs()
