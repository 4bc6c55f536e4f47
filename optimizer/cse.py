"""Common subexpression elimination: of equal computations, and of equal weights, one is kept."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import onnx_ir as ir

from .edits import can_replace
from .operators import lookup
from .report import Report
from .values import subgraphs


def merge_initializers(model: ir.Model, report: Report) -> int:
    """Keep one of all weights with equal bytes; a subgraph uses those outside it.

    Weights that the caller may override, or that are outputs, stay.
    """
    return _merge_initializers(model.graph, {})


def _merge_initializers(graph: ir.Graph, outer: dict[Hashable, list[ir.Value]]) -> int:
    known = {key: list(values) for key, values in outer.items()}
    count = 0
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or value.is_graph_input() or value.is_graph_output():
            continue
        key = (tensor.dtype, tuple(tensor.shape), _sample(tensor))
        same = next((other for other in known.get(key, ()) if _equal(other, value)), None)
        if same is None:
            known.setdefault(key, []).append(value)
            continue
        value.replace_all_uses_with(same)
        graph.initializers.pop(str(value.name))
        count += 1
    return count + sum(
        _merge_initializers(inner, known) for node in graph for inner in subgraphs(node)
    )


def _sample(tensor: ir.TensorProtocol) -> Hashable:
    """A few elements, by which most weights differ without reading all of them."""
    flat = tensor.numpy().reshape(-1)
    few = flat[:: max(1, flat.size // 16)]
    return str(few.tolist()) if tensor.dtype == ir.DataType.STRING else few.tobytes()


def _equal(a: ir.Value, b: ir.Value) -> bool:
    one, other = a.const_value, b.const_value
    assert one is not None and other is not None
    if one is other:
        return True
    if one.dtype == ir.DataType.STRING:
        return bool((one.numpy() == other.numpy()).all())
    return one.tobytes() == other.tobytes()  # bytes tell 0 from -0, and one NaN from another


def merge_nodes(model: ir.Model, report: Report) -> int:
    """Compute once what is computed twice; a subgraph uses what is computed before it.

    Nodes with subgraphs and random ones stay.
    """
    return _merge_nodes(model.graph, {})


def _merge_nodes(graph: ir.Graph, outer: dict[Hashable, ir.Node]) -> int:
    known = dict(outer)
    count = 0
    for node in list(graph):
        bodies = list(subgraphs(node))
        count += sum(_merge_nodes(body, known) for body in bodies)
        if bodies or not lookup(node).deterministic:
            continue
        first = known.setdefault(_key(node), node)
        if first is not node and _use_instead(node, first):
            graph.remove(node, safe=True)
            count += 1
    return count


def _key(node: ir.Node) -> Hashable:
    attributes = sorted(node.attributes.items())
    return (
        node.op_identifier(),
        tuple(bool(value.name) for value in node.outputs),  # outputs left out have no name
        tuple(id(value) for value in node.inputs),
        tuple((name, attribute.type, _plain(attribute)) for name, attribute in attributes),
    )


def _plain(attribute: ir.Attr) -> Hashable:
    value: Any = attribute.value
    if attribute.type == ir.AttributeType.TENSOR:
        plain = (
            str(value.numpy().tolist()) if value.dtype == ir.DataType.STRING else value.tobytes()
        )
        return (value.dtype, tuple(value.shape), plain)
    if attribute.type in (
        ir.AttributeType.INT,
        ir.AttributeType.FLOAT,
        ir.AttributeType.STRING,
        ir.AttributeType.INTS,
        ir.AttributeType.FLOATS,
        ir.AttributeType.STRINGS,
    ):
        return tuple(value) if isinstance(value, list | tuple) else value
    return id(attribute)


def _use_instead(node: ir.Node, first: ir.Node) -> bool:
    outputs = [value for value in node.outputs if value.is_graph_output()]
    if outputs and (len(node.outputs) != 1 or not can_replace(node, first.outputs[0])):
        return False
    for old, new in zip(node.outputs, first.outputs, strict=True):
        if old.is_graph_output():
            name, old.name = old.name, f"{old.name}.replaced"
            new.name = name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
    return True
