"""Common subexpression elimination: of equal computations, and of equal weights, one is kept."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import onnx_ir as ir

from ..notes import ACCURACY_NOTE
from .edits import can_replace, remove, replace_uses, set_inputs
from .operators import lookup
from .report import Report
from .values import subgraphs


def merge_initializers(model: ir.Model, report: Report) -> int:
    """Keep one of all weights with equal bytes; a subgraph uses those outside it.

    Weights that the caller may override, or that are outputs, stay.
    """
    merged: dict[ir.Value, ir.Value] = {}
    _merge_initializers(model.graph, {}, merged)
    if merged:
        for node in model.graph.all_nodes():
            _read_instead(node, merged)
    return len(merged)


def _merge_initializers(
    graph: ir.Graph, known: dict[Hashable, list[ir.Value]], merged: dict[ir.Value, ir.Value]
) -> None:
    """Take equal weights out of a graph, given those outside it; notes what is read instead."""
    own: list[list[ir.Value]] = []
    for value in list(graph.initializers.values()):
        tensor = value.const_value
        if tensor is None or value.is_graph_input() or value.is_graph_output():
            continue
        alike = known.setdefault((tensor.dtype, tuple(tensor.shape), _sample(tensor)), [])
        same = next((other for other in alike if _equal(other, value)), None)
        if same is None:
            alike.append(value)
            own.append(alike)
            continue
        merged[value] = same
        graph.initializers.pop(str(value.name))
    for node in graph:
        for inner in subgraphs(node):
            _merge_initializers(inner, known, merged)
    for alike in own:  # nobody outside may read what is inside
        alike.pop()


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
    twins: list[ir.Node] = []
    _merge_nodes(model.graph, {}, {}, twins)
    for node in reversed(twins):
        remove(node)
    return len(twins)


def _merge_nodes(
    graph: ir.Graph,
    known: dict[Hashable, ir.Node],
    merged: dict[ir.Value, ir.Value],
    twins: list[ir.Node],
) -> None:
    """Find the nodes that compute what another one does, given those outside the graph.

    Their results are not read any more. Nodes are visited in order, so that each has the inputs
    that it will have before it is compared.
    """
    own: list[Hashable] = []
    for node in graph:
        _read_instead(node, merged)
        bodies = list(subgraphs(node))
        for body in bodies:
            _merge_nodes(body, known, merged, twins)
        if bodies or not lookup(node).deterministic:
            continue
        key = _key(node)
        first = known.setdefault(key, node)
        if first is node:
            own.append(key)
        elif _use_instead(node, first, merged):
            twins.append(node)
    for key in own:  # nobody outside may read what is inside
        del known[key]


def _read_instead(node: ir.Node, merged: Mapping[ir.Value, ir.Value]) -> None:
    """Let a node read the values that others were merged into."""
    changes = {i: merged[x] for i, x in enumerate(node.inputs) if x is not None and x in merged}
    if changes:
        set_inputs(node, changes)


def _key(node: ir.Node) -> Hashable:
    attributes = sorted(node.attributes.items())
    return (
        node.op_identifier(),
        tuple(bool(value.name) for value in node.outputs),  # outputs left out have no name
        tuple(id(value) for value in node.inputs),
        tuple((name, attribute.type, _plain(attribute)) for name, attribute in attributes),
        node.metadata_props.get(ACCURACY_NOTE),
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


def _use_instead(node: ir.Node, first: ir.Node, merged: dict[ir.Value, ir.Value]) -> bool:
    outputs = [value for value in node.outputs if value.is_graph_output()]
    if outputs and (len(node.outputs) != 1 or not can_replace(node, first.outputs[0])):
        return False
    for old, new in zip(node.outputs, first.outputs, strict=True):
        merged[old] = new
        if old.is_graph_output():
            name, old.name = old.name, f"{old.name}.replaced"
            new.name = name
            replace_uses(old, new)
    return True
