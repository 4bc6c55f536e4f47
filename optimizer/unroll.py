"""Unrolling: a short loop of a fixed number of steps is replaced by copies of its body."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .edits import (
    insert,
    move_initializers,
    move_nodes,
    new_constant,
    remove_with_body,
    replace_output,
    replace_uses,
)
from .fusions.steps import steps
from .report import Report
from .rewrite import NearMiss
from .values import graphs

NODES = 1024
"""Number of nodes up to which a loop is unrolled."""

_SINCE = 13  # the opset in which the axes of an Unsqueeze are an input


def unroll_loops(model: ir.Model, report: Report) -> int:
    """Replace each short Loop by its steps; returns how many.

    For loops that no recurrent operator stands for, when nothing else can be done to them.
    """
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return 0
    count = 0
    for graph in list(graphs(model)):
        for node in list(graph):
            if node.op_type == "Loop" and not node.domain and node.graph is graph:
                count += _unroll(graph, node, report)
    return count


def _unroll(graph: ir.Graph, loop: ir.Node, report: Report) -> bool:
    subject = f"Loop {loop.name!r}"
    try:
        trips = _trips(loop)
    except NearMiss as reason:
        report.explain(f"{subject} not unrolled: {reason}", subject, loop)
        return False
    body = loop.attributes["body"].as_graph()
    move_initializers(body, loop, f"{loop.name}.")  # one for all steps
    states = [value for value in loop.inputs[2:] if value is not None]
    collected: list[list[ir.Value]] = [[] for _ in loop.outputs[len(states) :]]
    for step in range(trips):
        after = _step(graph, loop, body, step, states)
        states = after[: len(states)]
        for items, value in zip(collected, after[len(states) :], strict=True):
            items.append(value)
    results = [*states, *(_stacked(graph, loop, items) for items in collected)]
    for old, new in zip(loop.outputs, results, strict=True):
        if old.is_graph_output():
            copy = ir.node("Identity", [new])
            insert(loop, [copy])
            new = copy.outputs[0]
        new.type = new.type or old.type
        replace_output(old, new)
    remove_with_body(loop)
    report.explain(f"{subject} unrolled: {trips} steps", subject)
    return True


def _trips(loop: ir.Node) -> int:
    trips = steps(loop).trips
    if not isinstance(trips, int) or trips < 1:
        raise NearMiss("the number of its steps is not known")
    nodes = trips * sum(1 for _ in loop.attributes["body"].as_graph().all_nodes())
    if nodes > NODES:
        raise NearMiss(f"its {trips} steps would be {nodes} nodes, more than {NODES}")
    return trips


def _step(
    graph: ir.Graph, loop: ir.Node, body: ir.Graph, step: int, states: list[ir.Value]
) -> list[ir.Value]:
    """Put the body in front of a Loop, once; returns its results, without the condition."""
    prefix = f"{loop.name}.{step}."
    number = new_constant(graph, np.array(step, np.int64), f"{prefix}number")
    goes_on = new_constant(graph, np.array(True), f"{prefix}condition")
    copy = body.clone(allow_outer_scope_values=True)
    outside = dict(zip(copy.inputs, [number, goes_on, *states], strict=True))
    results = [outside.get(value, value) for value in copy.outputs[1:]]
    copy.outputs.clear()
    for inner, outer in outside.items():
        replace_uses(inner, outer)
    move_nodes(copy, loop, prefix)
    return results


def _stacked(graph: ir.Graph, loop: ir.Node, items: list[ir.Value]) -> ir.Value:
    """Join the results of all steps along a new first axis."""
    axes = new_constant(graph, np.array([0], np.int64), f"{loop.name}.axes")
    parts = [ir.node("Unsqueeze", [item, axes]) for item in items]
    whole = ir.node("Concat", [part.outputs[0] for part in parts], {"axis": 0})
    for node in (*parts, whole):
        node.outputs[0].type = items[0].type
    insert(loop, [*parts, whole])
    return whole.outputs[0]
