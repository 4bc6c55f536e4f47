"""Branches: an If with a constant condition is replaced by the branch taken."""

from __future__ import annotations

import onnx_ir as ir

from .edits import move_initializers, move_nodes, remove, replace_output
from .report import Report
from .values import constant, graphs


def inline_branches(model: ir.Model, report: Report) -> int:
    """Replace each If with a constant condition by the branch taken; returns how many."""
    count = 0
    for graph in list(graphs(model)):
        for node in list(graph):
            if node.op_type == "If" and not node.domain and node.graph is graph:
                count += _inline(node, report)
    return count


def _inline(node: ir.Node, report: Report) -> bool:
    condition = constant(node.inputs[0])
    if condition is None or condition.size != 1:
        return False
    taken = "then_branch" if condition.reshape(-1)[0] else "else_branch"
    if not inline(node, taken):
        return False
    report.explain(f"{node.name!r}: If replaced by its {taken}")
    return True


def inline(node: ir.Node, taken: str) -> bool:
    """Replace an If by a branch; False where names of results stand against it."""
    branch = node.attributes[taken].as_graph()
    own = {value for inner in branch for value in inner.outputs}
    names_results = any(value.is_graph_output() for value in node.outputs)
    distinct = len(set(branch.outputs)) == len(branch.outputs)
    if not own.issuperset(branch.outputs) or (names_results and not distinct):
        return False
    prefix = f"{node.name or 'If'}."
    move_initializers(branch, node, prefix)
    results = list(branch.outputs)
    branch.outputs.clear()
    move_nodes(branch, node, prefix)
    for old, new in zip(node.outputs, results, strict=True):
        new.type = old.type or new.type
        replace_output(old, new)
    remove(node)
    return True
