"""Loop invariants: states of a Loop that never change become values from outside."""

from __future__ import annotations

import onnx_ir as ir

from .edits import insert, remove, replace_output, replace_uses
from .report import Report
from .values import graphs


def lift_loop_invariants(model: ir.Model, report: Report) -> int:
    """Take from each Loop the states that its body returns as they are; returns how many.

    A state that is constant outside is then constant inside, too, and can be folded there.
    """
    count = 0
    for graph in list(graphs(model)):
        for node in list(graph):
            if node.op_type == "Loop" and not node.domain and "body" in node.attributes:
                count += _lift(node)
    return count


def behind_identities(value: ir.Value) -> ir.Value:
    """Follow a value through Identity to where it comes from."""
    while (node := value.producer()) is not None and node.op_type == "Identity" and not node.domain:
        if node.inputs[0] is None:
            break
        value = node.inputs[0]
    return value


def _lift(node: ir.Node) -> int:
    body = node.attributes["body"].as_graph()
    states = max(len(node.inputs) - 2, 0)  # a loop without states may have fewer inputs
    variant = [k for k in range(states) if not _is_invariant(node, body, k)]
    if len(variant) == states:
        return 0
    for k in reversed(range(states)):
        if k in variant:
            continue
        outer = node.inputs[2 + k]
        assert outer is not None
        body.outputs.pop(1 + k)
        replace_uses(body.inputs.pop(2 + k), outer)
        replace_uses(node.outputs[k], outer)
    inputs = [*node.inputs[:2], *(node.inputs[2 + k] for k in variant)]
    results = [*variant, *range(states, len(node.outputs))]
    loop = ir.node("Loop", inputs, num_outputs=len(results), name=node.name)
    loop.attributes["body"] = node.attributes["body"]
    insert(node, [loop])
    for new, k in zip(loop.outputs, results, strict=True):
        new.type = node.outputs[k].type
        replace_output(node.outputs[k], new)
    remove(node)
    return states - len(variant)


def _is_invariant(node: ir.Node, body: ir.Graph, k: int) -> bool:
    inner, final = body.inputs[2 + k], node.outputs[k]
    if node.inputs[2 + k] is None or final.is_graph_output():
        return False
    returned = sum(value is inner for value in body.outputs)
    once = returned == (body.outputs[1 + k] is inner)
    return behind_identities(body.outputs[1 + k]) is inner and once
