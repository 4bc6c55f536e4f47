"""Caches that grow in place: inputs that outputs of the model continue along an axis.

The next run is given such an output as the input. Where it is the input with something behind it,
nothing of it need be moved: the input lies in memory with room along the axis, and a step writes
what is new behind it.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from .graph import Graph, Node


def find_caches(
    graph: Graph, states: Sequence[Sequence[str]]
) -> dict[ir.Value, tuple[ir.Value, int]]:
    """Return for inputs that grow in place the output that continues them, and the axis.

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
        axis = _axis_of_growth(graph, inputs[name], outputs[output])
        if axis is not None:
            caches[inputs[name]] = outputs[output], axis
    return caches


def _axis_of_growth(graph: Graph, past: ir.Value, whole: ir.Value) -> int | None:
    """Axis along which a value is another one with something behind it, None for other values."""
    index = graph.index_of.get(producer) if (producer := whole.producer()) is not None else None
    if index is None or index in graph.why_host or graph.infos[past].shape is None:
        return None
    node = graph.nodes[index]
    rank = graph.infos[past].rank
    if node.key == ("", "Concat") and len(node.values) == 2 and node.values[0] is past:
        axis = int(node.attribute("axis", 1)) % rank
        return axis if node.values[1] is not past else None
    return 2 if node.key == ("", "Attention") and _is_cache(node, past, whole) else None


def _is_cache(node: Node, past: ir.Value, whole: ir.Value) -> bool:
    """Tell whether the keys or values of an Attention continue an input: inputs 4 and 5."""
    pairs = zip(node.values[4:6], node.outputs[1:3], strict=False)
    return any(before is past and after is whole for before, after in pairs)
