"""Concatenation without copies: producers write into the concatenated buffer.

A value that is only concatenated along channels, channels last, gets its place in the result's
buffer before anything is emitted. Places nest: in a dense block every feature map lies in one
buffer, and each concatenation is a view of its first channels.
"""

from __future__ import annotations

from collections import Counter

import onnx_ir as ir

from .graph import Graph, Node
from .ops.registry import OPERATORS
from .size_code import Code
from .symbolic import Dim


def find_places(graph: Graph) -> dict[ir.Value, tuple[ir.Value, Dim]]:
    """Return for each placed value the root it lies in and its first channel there."""
    producers = {value: node for node in graph.nodes for value in node.outputs}
    since = _KnownSince(graph)
    spatial: dict[ir.Value, bool] = {}
    for node in graph.nodes:
        for value in node.outputs:
            spatial[value] = _is_spatial(node, spatial)
    places: dict[ir.Value, tuple[ir.Value, Dim]] = {}
    for node in reversed(graph.nodes):
        if node.op_type != "Concat" or not _along_channels(graph, node):
            continue
        result = node.outputs[0]
        if result.is_graph_output() or not spatial[result]:
            continue
        root, offset = places.get(result, (result, 0))
        times = Counter(node.values)
        for value in [v for v in node.values if v is not None]:
            fresh = value not in places and not value.is_graph_output()
            once = times[value] == 1 and value in producers
            if fresh and once and spatial[value] and since(root) < producers[value].index:
                places[value] = (root, offset)
            offset = offset + graph.infos[value].dims[1]
    return places


class _KnownSince:
    """Index of the node after which all sizes of a value are known; -1 from the start.

    A value computed before cannot be written into it: there is no memory yet.
    """

    def __init__(self, graph: Graph) -> None:
        self._infos = graph.infos
        self._since = graph.known_after
        self._known: dict[ir.Value, int] = {}

    def __call__(self, value: ir.Value) -> int:
        if value not in self._known:
            code = Code()
            for dim in self._infos[value].dims:
                code.slot(dim)
            self._known[value] = max((self._since.get(s, -1) for s in code.symbols), default=-1)
        return self._known[value]


def _is_spatial(node: Node, spatial: dict[ir.Value, bool]) -> bool:
    """Tell whether a node's result will be channels last and strided output is possible."""
    operator = OPERATORS.get(node.key)
    info = node.infos[0] if node.infos else None
    if operator is None or info is None or info.shape is None:
        return False
    if info.rank != 4 or info.dtype != "float32" or operator.layout == "plain":
        return False
    # Operands of an elementwise operator that are repeated do not decide about its layout.
    return operator.layout == "channels_last" or any(
        value is not None
        and spatial.get(value, False)
        and operand is not None
        and (operator.term is None or operand.shape == info.shape)
        for value, operand in zip(node.values, node.inputs, strict=True)
    )


def _along_channels(graph: Graph, node: Node) -> bool:
    info = node.infos[0]
    if node.index in graph.why_host or info.shape is None or info.rank != 4:
        return False
    return info.dtype == "float32" and node.attribute("axis", 1) in (1, -3)
