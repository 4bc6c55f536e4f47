"""Caches that grow in place: inputs that outputs of the model continue along an axis.

The next run is given such an output as the input. Where it is the input with something behind it,
or with rows of it replaced, nothing of it need be moved: the input lies in memory with room along
the axis, and steps write what is new behind it or into it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from .graph import Graph, Node
from .symbolic import symbols_in

Link = tuple[ir.Value, int]
"""The value that a node continues, and the axis."""


def find_caches(
    graph: Graph, states: Sequence[Sequence[str]]
) -> dict[ir.Value, tuple[list[ir.Value], int]]:
    """Return for inputs that grow in place the values that continue them, and the axis.

    The last of these values is the output; there are others where several nodes make it, one after
    the other.

    Parameters
    ----------
    graph : Graph
    states : sequence of (str, str)
        Output and input of each state.
    """
    inputs = {value.name: value for value in graph.inputs}
    outputs = {value.name: value for value in graph.outputs}
    caches = {}
    for output, name in states:
        found = _continuations(graph, inputs[name], outputs[output])
        if found is not None:
            caches[inputs[name]] = found
    return caches


def _continuations(
    graph: Graph, past: ir.Value, whole: ir.Value
) -> tuple[list[ir.Value], int] | None:
    """Values that lead from one value to another by nodes that continue it, and the axis."""
    values: list[ir.Value] = []
    axes: set[int] = set()
    value = whole
    while value is not past:
        link = _link(graph, value)
        if link is None or graph.infos[value].shape is None:
            return None
        values.insert(0, value)
        value = link[0]
        axes.add(link[1])
    lengths = [graph.infos[each].dims[axis] for each in (past, *values) for axis in axes]
    # The memory of a run is there before it begins.
    if len(axes) != 1 or any(s in graph.known_after for n in lengths for s in symbols_in(n)):
        return None
    return values, axes.pop()


def _link(graph: Graph, value: ir.Value) -> Link | None:
    """Return what a value continues; None where its node makes something else."""
    producer = value.producer()
    index = None if producer is None else graph.index_of.get(producer)
    if index is None or index in graph.why_host:
        return None
    node = graph.nodes[index]
    rule = _RULES.get(node.key)
    return None if rule is None else rule(node, value)


def _concatenated(node: Node, _: ir.Value) -> Link | None:
    past, *new = node.values
    if past is None or len(new) != 1 or new[0] is past:
        return None
    return past, int(node.attribute("axis", 1)) % node.required(0).rank


def _attended(node: Node, whole: ir.Value) -> Link | None:
    """Return the keys or values of an Attention: inputs 4 and 5."""
    pairs = zip(node.values[4:6], node.outputs[1:3], strict=False)
    found = next((past for past, present in pairs if present is whole), None)
    return None if found is None else (found, 2)


def _padded(node: Node, _: ir.Value) -> Link | None:
    """Return what a Pad puts zeros behind, along one axis."""
    pads, past = node.input(1), node.values[0]
    if past is None or pads is None or pads.known is None or len(node.values) > 2:
        return None
    sizes, rank = pads.sizes(), node.required(0).rank
    grown = [i for i, size in enumerate(sizes) if size != 0]
    is_behind = len(sizes) == 2 * rank and len(grown) == 1 and grown[0] >= rank
    is_plain = node.attribute("mode", "constant") == "constant"
    return (past, grown[0] - rank) if is_behind and is_plain else None


def _scattered(node: Node, _: ir.Value) -> Link | None:
    """Return what a TensorScatter replaces rows of; nothing else may read their old values."""
    cache = node.values[0]
    assert cache is not None
    value: ir.Value | None = cache
    while value is not None:
        readers = [user for user, index in value.uses() if (user.op_type, index) not in _HARMLESS]
        if len(readers) > 1 or value.is_graph_output():
            return None
        producer = value.producer()
        value = producer.inputs[0] if producer is not None and producer.op_type == "Pad" else None
    return cache, int(node.attribute("axis", -2)) % node.required(0).rank


_HARMLESS = {("Shape", 0), ("Size", 0)}
"""Readers of sizes alone."""

_RULES: dict[tuple[str, str], Callable[[Node, ir.Value], Link | None]] = {
    ("", "Concat"): _concatenated,
    ("", "Attention"): _attended,
    ("", "Pad"): _padded,
    ("", "TensorScatter"): _scattered,
}
