"""Values of float32 that lie in memory as bfloat16: those between products of bfloat16.

``precision="bf16"`` rounds what such products read, so that it may as well be written rounded: half
the bytes are moved, and rows need no splitting. Only memory changes: sums, normalizations and
elementwise functions are float32 inside. A value lies so if its writer and all that read it take
it, and one of them is such a product; what moves elements, or takes maxima, passes it on, and
attention reads and writes it. Inputs and outputs of a graph stay float32. So do the sums that
transformers carry through all layers: what is normalized, and the result where others than
products read it.

Whatever reads a value that it does not take as it lies is given it as float32 (`Emission.tensor`),
so that what is said here is a matter of speed alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from ..kernels import pointwise as language
from ..kernels.amx_permission import has_amx
from .emission import Emission
from .graph import Graph, Node
from .groups import Group
from .ops import attention
from .ops.packed_weights import few_rows
from .ops.pointwise import write_expression
from .ops.registry import OPERATORS
from .symbolic import product


def find_half_values(
    graph: Graph, groups: Mapping[int, Group], options: Mapping[str, Any]
) -> set[ir.Value]:
    """Return the values of a graph that lie in memory as bfloat16."""
    if options.get("precision") != "bf16":
        return set()
    return _Finder(graph, groups).found()


def takes_halves(emit: Emission, node: Node, group: Group | None) -> bool:
    """Tell whether a node, or its group, reads and writes such values as they lie."""
    if not emit.halves:
        return False
    if group is not None:
        return _group_takes(group)
    if node.op_type in _NORMALIZING:
        return node.outputs[0] in emit.halves
    if _attends(node):
        return True
    if not _moves(node) and node.op_type not in _PASSING:
        return False
    floats = [value for value, info in _floats(node) if not info.is_constant]
    are_given = all(emit.has_tensor(value) and emit.lies_as_half(value) for value in floats)
    is_joined = node.op_type == "Concat"
    return all(v in emit.halves for v in node.outputs) and (is_joined or are_given)


_PASSING = ("AveragePool", "MaxPool")
"""Operators that do not only move elements, whose result lies as what they read."""
_NORMALIZING = ("LayerNormalization", "RMSNormalization")
"""Operators that write values for products so."""


class _Finder:
    """Finds the values; ``graph`` and ``groups`` as for `find_half_values`."""

    def __init__(self, graph: Graph, groups: Mapping[int, Group]) -> None:
        self._graph, self._groups = graph, groups

    def found(self) -> set[ir.Value]:
        values = {
            value
            for node in self._graph.nodes
            if self._writes(node)
            for value, info in zip(_results(node), node.infos, strict=False)
            if info.dtype == "float32" and not info.is_settled and self._may_lie(value)
        }
        # What passes values on reads and writes the same type: all or none of them.
        passing = [node for node in self._graph.nodes if self._passes(node)]
        while True:
            apart = [node for node in passing if self._differs(node, values)]
            removed = {v for node in apart for v in (*node.values, *node.outputs) if v in values}
            if not removed:
                return self._near_products(values, passing)
            values -= removed

    def _may_lie(self, value: ir.Value) -> bool:
        """Tell whether all that read a value take bfloat16."""
        if value.is_graph_output() or not value.uses():
            return False
        writer = value.producer()
        is_normal = writer is not None and writer.op_type in _NORMALIZING
        reads = self._multiplies if is_normal else self._reads
        return all(reads(use.node, use.idx) for use in value.uses())

    def _writes(self, node: Node) -> bool:
        if node.index in self._graph.why_host:
            return False
        group = self._groups.get(node.index)
        if group is None:
            return self._passes(node) or node.op_type in _NORMALIZING or _attends(node)
        return group.last is node and _group_takes(group)

    def _reads(self, user: ir.Node, position: int) -> bool:
        index = self._graph.index_of.get(user)
        if index is None or index in self._graph.why_host:
            return False
        node, group = self._graph.nodes[index], self._groups.get(index)
        if group is None:
            is_operand = position in (attention.Q, attention.K, attention.V)
            return self._passes(node) or (is_operand and _attends(node))
        if group.head is node and (position != 0 or not _reads_as_it_lies(node)):
            return False
        return _group_takes(group)

    def _multiplies(self, user: ir.Node, position: int) -> bool:
        """Tell whether a reader is a product, which rounds what it reads anyway."""
        index = self._graph.index_of.get(user, -1)
        group = self._groups.get(index)
        is_head = group is not None and group.head is self._graph.nodes[index]
        return is_head and self._reads(user, position)

    def _passes(self, node: Node) -> bool:
        return node.index not in self._groups and (_moves(node) or node.op_type in _PASSING)

    def _differs(self, node: Node, values: set[ir.Value]) -> bool:
        read = {value in values for value, _ in _floats(node)}
        written = {value in values for value in node.outputs}
        if node.op_type == "Concat" and written == {True}:
            return read == {False}  # it converts what it is given otherwise
        return len(read | written) > 1

    def _near_products(self, values: set[ir.Value], passing: list[Node]) -> set[ir.Value]:
        """Return the values that products write or read, perhaps through what passes them on."""
        products = [g for g in dict.fromkeys(self._groups.values()) if g.head is not None]
        read = (v for group in products for node in group.nodes for v in node.values)
        written = (group.last.outputs[0] for group in products)
        near = values.intersection([*read, *written])
        while True:
            joined = [values.intersection([*n.values, *n.outputs]) for n in passing]
            more = {v for own in joined if own & near for v in own} - near
            if not more:
                return near
            near |= more


def _results(node: Node) -> Sequence[ir.Value]:
    """Outputs that may lie as bfloat16; statistics stay float32."""
    return node.outputs[:1] if node.op_type in _NORMALIZING else node.outputs


def _floats(node: Node) -> list[tuple[ir.Value, Any]]:
    """Inputs of float32."""
    pairs = zip(node.values, node.inputs, strict=True)
    return [(v, i) for v, i in pairs if v is not None and i is not None and i.dtype == "float32"]


def _moves(node: Node) -> bool:
    """Tell whether a node only moves elements that it is given, none of which are constant."""
    operator = OPERATORS.get(node.key)
    if operator is None or not operator.moves or operator.bodies is not None:
        return False
    floats = _floats(node)
    return bool(floats) and not any(info.is_constant for _, info in floats)


def _attends(node: Node) -> bool:
    """Tell whether a node is attention that reads and writes bfloat16."""
    return node.op_type == "Attention" and attention.takes_halves(node)


def _group_takes(group: Group) -> bool:
    """Tell whether the step of a group reads and writes bfloat16."""
    if group.head is not None:
        return _is_product(group.head) and group.gate is None
    expression = write_expression(group.nodes)
    return language.INEXACT.isdisjoint(language.functions(expression.text))


def _reads_as_it_lies(node: Node) -> bool:
    """Tell whether a product reads words of two channels; AMX has them in other places."""
    if has_amx() or node.op_type != "Conv":
        return True
    weights = node.required(1).dims
    channels = weights[1]
    is_depthwise = channels == 1 and weights[0] == node.attribute("group", 1)
    return is_depthwise or (isinstance(channels, int) and channels % 2 == 0 and channels >= 8)


def _is_product(node: Node) -> bool:
    """Tell whether a node's first operand is multiplied by constant weights, in bfloat16.

    Depthwise convolutions lie between such products, and have kernels of their own.
    """
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.infos[0].dtype != "float32":
        return False
    x, weights, result = node.required(0), node.required(1), node.infos[0].dims
    if not weights.is_constant:
        return False
    if node.op_type == "Conv":
        rows = product(result[2:])
        groups = node.attribute("group", 1)
        fits = x.rank < 5 and (groups == 1 or weights.dims[:2] == (groups, 1))
    else:
        rows = product(result[:-1])
        fits = not node.attribute("transA", 0) and x.rank > 1
    return fits and (not isinstance(rows, int) or rows > few_rows())
