"""Bodies of nodes on the host as graphs of their own, which programs of their own come from.

What a body uses from outside are inputs of it, behind those that it has. Sizes are numbers where
they are outside, all others open; so are sizes and ranks of states that an iteration changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from . import symbolic
from .graph import BodyInputs, Graph, Info, Node
from .ops import OPERATORS
from .shape_inference import body_of, infer_nodes


def infer_bodies(outer: Graph, node: Node) -> dict[str, Graph]:
    """Run the shape rules over the bodies of a node; returns their graphs by attribute.

    Raises
    ------
    OnHost
        What the bodies are given is not known.
    InvalidModel, UnsupportedModel
        Naming the node of the body.
    """
    operator = OPERATORS.get(node.key)
    if operator is None or operator.bodies is None:
        return {}
    return {name: _infer(outer, node, name, given) for name, given in operator.bodies(node).items()}


def _infer(outer: Graph, node: Node, name: str, given: BodyInputs) -> Graph:
    """Infer a body until its states keep the shapes that are assumed of them."""
    source = body_of(node, name, len(given.infos))
    inputs = dict(zip(source.inputs, given.infos, strict=True))
    while True:
        graph = _graph_of(outer, source, inputs)
        changed = False
        for i, o in given.states:
            state, result = source.inputs[i], graph.infos[source.outputs[o]]
            joined = _joined(graph.infos[state], result)
            changed |= joined != graph.infos[state].shape
            inputs[state] = Info("", result.dtype, joined)
        if not changed:
            return graph


def _graph_of(outer: Graph, source: ir.Graph, inputs: dict[ir.Value, Info]) -> Graph:
    graph = Graph(outer.opsets, list(source.inputs), list(source.outputs))
    graph.infos.update((value, _opened(value, info)) for value, info in inputs.items())
    for value in captured(source):
        info = outer.infos[value]
        if info.is_constant:
            graph.infos[value] = info
        else:
            graph.infos[value] = _opened(value, info)
            graph.inputs.append(value)
    infer_nodes(graph, source)
    return graph


def _opened(value: ir.Value, info: Info) -> Info:
    """Describe an input of a body: what no number says is a symbol of its own."""
    name = value.name or ""
    if info.shape is None:
        return Info(name, info.dtype, None)
    dims = [
        dim if isinstance(dim, int) else symbolic.symbol(f"{name}.{axis}", "input")
        for axis, dim in enumerate(info.shape)
    ]
    return Info(name, info.dtype, tuple(dims))


def _joined(state: Info, result: Info) -> tuple[symbolic.Dim, ...] | None:
    """Return the shape of a state and of what an iteration makes of it, open where they differ."""
    if state.shape is None or result.shape is None or state.rank != result.rank:
        return None
    return tuple(
        a if a == b or not isinstance(a, int) else symbolic.symbol(f"{state.name}.{axis}", "input")
        for axis, (a, b) in enumerate(zip(state.shape, result.shape, strict=True))
    )


def captured(graph: ir.Graph) -> list[ir.Value]:
    """List the values that a graph, or one inside it, uses from outside."""
    own: set[ir.Value] = set()
    used: dict[ir.Value, None] = {}
    for inner in _graphs(graph):
        own |= {*inner.inputs, *inner.initializers.values()}
        for node in inner:
            own |= set(node.outputs)
            used |= dict.fromkeys(value for value in node.inputs if value is not None)
    return [value for value in used if value not in own]


def _graphs(graph: ir.Graph) -> Iterator[ir.Graph]:
    """Yield a graph and all inside it."""
    pending = [graph]
    while pending:
        each = pending.pop()
        yield each
        for node in each:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH:
                    pending.append(attribute.as_graph())
                elif attribute.type == ir.AttributeType.GRAPHS:
                    pending += attribute.as_graphs()
