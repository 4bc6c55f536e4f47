"""Fusion groups: which nodes become one step.

Walking backwards, a node joins the group of its consumers when all of them are in that one
group and its result has the group's shape. Elementwise nodes form groups; one convolution or
matrix product may lead a group, which then is its epilogue. Each expression is a kernel to be
compiled, so a model may have so many that differ: nodes of further ones stay alone.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from ..kernels import pointwise as language
from .graph import Graph, Node
from .groups import Group
from .ops.gates import absorb_gates
from .ops.pointwise import write_expression
from .ops.registry import OPERATORS
from .ops.terms import Placed
from .symbolic import product
from .tensors import short_name

_RIGHT = {"MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3}
"""Products of matrices, and which input is the right operand."""
_LINEAR = ("QLinearConv", "QLinearMatMul")
"""Heads that make bytes of their sums, by scales."""

MAX_NODES = 12
MAX_OPERANDS = 8  # besides single numbers, of which quantized tensors have two each
MAX_NUMBERS = 12  # with these
MAX_EXPRESSIONS = 128  # half a second each to compile


def find_groups(
    graph: Graph, is_apart: Callable[[Node], bool], has_gates: bool = True
) -> dict[int, Group]:
    """Group nodes; returns the group of each member by node index.

    Nodes that are ``apart`` lead no group: their kernels have no epilogue, and what follows them
    is better grouped with what follows that. With ``has_gates`` convolutions scale their weights.
    """
    groups: dict[int, Group] = {}
    for node in reversed(graph.nodes):
        if node.index in graph.why_host or all(info.is_settled for info in node.infos):
            continue
        operator = OPERATORS[node.key]
        if operator.term is None and operator.fused is None:
            continue
        group = _consumers_group(graph, node, groups)
        is_led = operator.fused is not None
        if group is not None and _fits(graph, node, group) and not (is_led and is_apart(node)):
            group.nodes.insert(0, node)
            groups[node.index] = group
            if operator.fused is not None:
                group.head = node
        else:
            groups[node.index] = Group([node], node if operator.fused is not None else None)
    if has_gates:
        absorb_gates(graph, groups)
    expressions: set[str] = set()
    for group in dict.fromkeys(groups.values()):
        group.nodes.sort(key=lambda node: node.index)
        if len(group.nodes) > 1 and group.gate is None:
            text = write_expression(group.body).text
            if text not in expressions and len(expressions) == MAX_EXPRESSIONS:
                groups |= _alone(group)
            else:
                expressions.add(text)
    return groups


def _alone(group: Group) -> dict[int, Group]:
    """Return a group of its own for each node."""
    return {node.index: Group([node], node if node is group.head else None) for node in group.nodes}


def _consumers_group(graph: Graph, node: Node, groups: dict[int, Group]) -> Group | None:
    value = node.outputs[0]
    if len(node.outputs) != 1 and any(v.uses() or v.is_graph_output() for v in node.outputs[1:]):
        return None
    if value.is_graph_output() or not value.uses():
        return None
    shared: Group | None = None
    for use in value.uses():
        index = graph.index_of.get(use.node)
        group = groups.get(index) if index is not None else None
        if group is None or (shared is not None and group is not shared):
            return None
        shared = group
    return shared


def _fits(graph: Graph, node: Node, group: Group) -> bool:
    operator = OPERATORS[node.key]
    result = group.last.infos[0]
    if group.head is not None or len(group.nodes) >= MAX_NODES:
        return False
    if operator.is_alone or OPERATORS[group.last.key].is_alone:
        return False
    if operator.fused is not None and not _can_lead(graph, node, group):
        return False
    if node.infos[0].shape != result.shape or _is_placed(node.outputs[0], group):
        return False
    joined = Group([node, *group.nodes], node if operator.fused is not None else None)
    operands = [graph.infos[value] for value in _inputs(joined)]
    wide = [info for info in operands if product(info.dims) != 1]
    return len(wide) <= MAX_OPERANDS and len(operands) <= MAX_NUMBERS


def _is_placed(value: ir.Value, group: Group) -> bool:
    """Tell whether a group reads a value otherwise than it lies: then it has to lie somewhere."""
    rules = ((node, OPERATORS[node.key].sources) for node in group.nodes)
    sources = (source for node, rule in rules if rule is not None for source in rule(node))
    return any(isinstance(source, Placed) and source.value is value for source in sources)


def _can_lead(graph: Graph, node: Node, group: Group) -> bool:
    """An epilogue is SIMD; operands of a product's are whole, columns or scalars.

    It is one of float32 behind sums of floats; whole sums leave their type anyway.
    """
    shape = node.infos[0].shape
    if any(OPERATORS[member.key].term is None for member in group.nodes):
        return False
    if node.op_type in _RIGHT:
        right = node.required(_RIGHT[node.op_type])
        merged = all(dim == 1 for dim in right.dims[:-2])
        if not all(
            info is None
            or info.shape == shape
            or product(info.dims) == 1
            or (merged and info.rank <= 1)
            for member in group.nodes
            for info in member.inputs
        ):
            return False
    if node.infos[0].dtype != "float32":
        return _is_vector(graph, node, group)
    infos = [info for member in group.nodes for info in (*member.inputs, *member.infos)]
    if any(info is not None and info.dtype != "float32" for info in infos):
        return False
    return language.functions(write_expression(group.nodes).text) <= set(language.VECTOR)


def _is_vector(graph: Graph, node: Node, group: Group) -> bool:
    """Tell whether a kernel takes whole sums of a head, or integers made of them, as vectors."""
    right = _RIGHT.get(node.op_type)
    if right is not None and min(node.required(0).rank, node.required(right).rank) < 2:
        return False
    expression = write_expression(group.nodes, node.outputs[0])
    types = [group.last.infos[0].dtype]
    # What makes bytes of sums, in the same kernel, has a scale.
    scales = ["float32"] if node.op_type in _LINEAR else []
    for source in expression.operands:
        value = source.value if isinstance(source, Placed) else source
        types.append("float32" if isinstance(value, float) else graph.infos[value].dtype)
        placed = isinstance(source, Placed) and source.axis is not None
        if placed and (source.block or (right and source.axis != source.rank - 1)):  # type: ignore[union-attr]
            return False
    kinds = " ".join(f"{short_name(each)}v" for each in types + scales)
    return language.is_vector(expression.text, kinds)


def _inputs(group: Group) -> list[ir.Value]:
    results = {value for node in group.nodes for value in node.outputs}
    seen: dict[ir.Value, None] = {}
    for node in group.body:
        for value in node.values:
            if value is not None and value not in results:
                seen[value] = None
    return list(seen)
