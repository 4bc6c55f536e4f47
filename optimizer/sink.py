"""Ifs whose branches give results of different ranks: what reads these moves into the branches.

Which rank there is behind such an If data decide, and no shape is known of what follows. In a
branch it is. Nodes move until their results have one rank, whichever branch is taken.
"""

from __future__ import annotations

from typing import TypeAlias

import onnx_ir as ir

from ..custom_inference import infer
from .branches import inline
from .edits import insert, remove, replace_output
from .report import Report
from .values import subgraphs

_BRANCHES = ("then_branch", "else_branch")
_MOST = 2000
"""Nodes that an If may take into its branches."""

Ranks: TypeAlias = dict[str | None, int | None]


def sink_into_branches(model: ir.Model, report: Report) -> int:
    """Move nodes that read results of unknown rank into the branches that give these.

    Conditions that sizes or integers among the inputs decide are left alone: for certain ones of
    these the If goes. Returns the number of Ifs that were changed.
    """
    count = 0
    for node in [each for each in model.graph if each.op_type == "If" and not each.domain]:
        if not _may_differ(node) or not _is_data(node.inputs[0]):
            continue
        if moved := _moved(model, node):
            _sink(node, moved)
            infer(model)
            report.explain(f"{node.name!r}: {len(moved)} nodes moved into its branches")
            count += 1
    return count


def _branch(node: ir.Node, name: str) -> ir.Graph:
    return node.attributes[name].as_graph()


def _rank(value: ir.Value) -> int | None:
    return None if value.shape is None else len(value.shape)


def _may_differ(node: ir.Node) -> bool:
    """Tell whether nodes read a result that need not have one rank."""
    pairs = zip(*(_branch(node, name).outputs for name in _BRANCHES), strict=True)
    return any(
        output.uses() and (_rank(a) is None or _rank(a) != _rank(b))
        for output, (a, b) in zip(node.outputs, pairs, strict=True)
    )


def _is_data(condition: ir.Value | None) -> bool:
    """Tell whether a condition is computed of floats among the inputs, of more than their sizes."""
    pending, seen = [condition], {condition}
    while pending:
        value = pending.pop()
        node = None if value is None else value.producer()
        if node is not None and node.op_type not in ("Shape", "Size"):
            pending += [each for each in node.inputs if each not in seen]
            seen.update(node.inputs)
        elif node is None and _is_float_input(value):
            return True
    return False


def _is_float_input(value: ir.Value | None) -> bool:
    if value is None or value.dtype is None or not value.is_graph_input():
        return False
    return value.dtype.is_floating_point()


def _moved(model: ir.Model, node: ir.Node) -> list[ir.Node]:
    """List what has to move into the branches, in order; nothing where that cannot be told."""
    first, second = (_ranks(model, node, name) for name in _BRANCHES)
    pairs = {value: (first.get(value.name), second.get(value.name)) for value in node.outputs}
    open_ = {value for value, ranks in pairs.items() if None in ranks or ranks[0] != ranks[1]}
    if all(None in pairs[value] for value in open_):
        return []
    depending, wanted = set(node.outputs), set[ir.Node]()
    order = list(model.graph)
    for each in order[order.index(node) + 1 :]:
        if depending.isdisjoint(each.inputs):
            continue
        depending.update(each.outputs)
        if open_.isdisjoint(each.inputs):
            continue
        wanted.add(each)
        for value in each.outputs:
            ranks = first.get(value.name), second.get(value.name)
            if None in ranks or ranks[0] != ranks[1]:
                open_.add(value)
    for each in reversed(order):  # also what they read of what depends on the If
        if each in wanted:
            before = (value.producer() for value in each.inputs if value in depending)
            wanted |= {other for other in before if other is not None and other is not node}
    readers = (use.node for value in open_ for use in value.uses())
    has_bodies = any(list(subgraphs(each)) for each in wanted)
    if has_bodies or any(reader.graph is not model.graph for reader in readers):
        return []
    return [each for each in order if each in wanted] if len(wanted) <= _MOST else []


def _ranks(model: ir.Model, node: ir.Node, name: str) -> Ranks:
    """Ranks of all values of the graph, by name, where one branch is taken."""
    copy = model.clone()
    taken = list(copy.graph)[list(model.graph).index(node)]
    results = list(_branch(taken, name).outputs)
    if not inline(taken, name):
        return {}
    infer(copy)
    ranks: Ranks = {value.name: _rank(value) for each in copy.graph for value in each.outputs}
    pairs = zip(node.outputs, results, strict=True)
    return ranks | {value.name: _rank(result) for value, result in pairs}


def _sink(node: ir.Node, moved: list[ir.Node]) -> None:
    """Put copies of nodes into both branches, and a new If in the place of the last of them."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    inside = {node, *moved}
    given = [value for each in (node, *moved) for value in each.outputs]
    results = [
        value
        for value in given
        if value.is_graph_output() or any(use.node not in inside for use in value.uses())
    ]
    for name in _BRANCHES:
        branch = _branch(node, name)
        copies = dict(zip(node.outputs, branch.outputs, strict=True))
        for each in moved:
            branch.append(_copied(each, copies, name))
        branch.outputs[:] = [copies[value] for value in results]
    new = ir.node("If", node.inputs, num_outputs=len(results), name=node.name)
    new.attributes.update(node.attributes)
    insert(moved[-1], [new])
    for value, result in zip(results, new.outputs, strict=True):
        result.type = value.type
        replace_output(value, result)
        result.shape = None  # that of a branch alone does not hold
    for each in reversed((node, *moved)):
        remove(each)
    graph.sort()


def _copied(node: ir.Node, copies: dict[ir.Value, ir.Value], branch: str) -> ir.Node:
    """Copy a node; ``copies`` has what it reads by the original, and gets what it gives."""
    inputs = [value if value is None else copies.get(value, value) for value in node.inputs]
    copy = ir.Node(
        node.domain, node.op_type, inputs, node.attributes.values(), num_outputs=len(node.outputs),
        name=f"{node.name}.{branch}" if node.name else None, version=node.version,
        metadata_props=dict(node.metadata_props),
    )  # fmt: skip
    for old, new in zip(node.outputs, copy.outputs, strict=True):
        new.name, new.type = f"{old.name}.{branch}" if old.name else "", old.type
        copies[old] = new
    return copy
