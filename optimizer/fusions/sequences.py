"""Sequences around recurrent operators: their last element, and reversal."""

from __future__ import annotations

import onnx_ir as ir

from ..edits import insert, remove, replace_output
from ..operators import lookup
from ..report import Report
from ..rewrite import Match, apply_rules, op, rewrite
from ..sizes import extent, measured_everywhere
from ..values import attribute, graphs, integers


def _direction(node: ir.Node) -> str:
    direction = node.attributes.get("direction")
    return "forward" if direction is None else direction.as_string()


def _is_plain(node: ir.Node | None) -> bool:
    """Tell whether a node is a recurrent operator over whole sequences, in one direction."""
    if node is None or not lookup(node).recurrent:
        return False
    whole = len(node.inputs) < 5 or node.inputs[4] is None
    one_way = _direction(node) in ("forward", "reverse")
    return whole and one_way and not attribute(node, "layout", 0)


@rewrite(lambda y: op.Squeeze(op.Slice(op.Squeeze(y, ...).named("steps"), ...).named("part"), ...))
def _last_step(m: Match) -> ir.Value:
    """Read the last state from the operator's second output, so that Y need not be computed."""
    layer, part = m.y.producer(), m.part.producer()
    assert part is not None and m.steps.producer() is not None
    m.require(_is_plain(layer), "it is no result of a recurrent operator")
    assert layer is not None
    m.require(m.y is layer.outputs[0], "it is no sequence of states")
    limits = [integers(value) for value in part.inputs[1:]]
    m.require(
        _axes(m.steps) == [1] and _axes(m.root.outputs[0]) == [0],
        "the axes removed are not directions and steps",
    )
    m.require(
        len(limits) > 2 and limits[2] == [0] and limits[3:] in ([], [[1]]),
        "the slice is not along the steps",
    )
    end = [-1] if _direction(layer) == "forward" else [0]
    stop = limits[1][0] if limits[1] else 0
    reached = stop >= 2**31 - 1 if end == [-1] else stop == 1
    m.require(limits[0] == end and reached, "it is not the last step that is taken")
    if len(layer.outputs) < 2:
        layer.resize_outputs(2)
    state = layer.outputs[1]
    if not state.name:
        state.name = f"{m.y.name}.last"
    state.type = m.y.type
    state.shape = None if m.y.shape is None else ir.Shape([1, *m.y.shape[2:]])
    return m.op.Squeeze(state, [0])


def _axes(value: ir.Value) -> list[int] | None:
    node = value.producer()
    return integers(node.inputs[1]) if node is not None and len(node.inputs) > 1 else None


_take_last_steps = apply_rules([_last_step])


def simplify_sequences(model: ir.Model, report: Report) -> int:
    """Read last states off the operator, and reversed sequences in reverse; counts the changes."""
    count = _take_last_steps(model, report)
    for graph in list(graphs(model)):
        for node in list(graph):
            if node.graph is graph and _is_plain(node):
                count += _reverse(node)
    return count


def _reversed(value: ir.Value | None) -> ir.Value | None:
    """Return the sequence whose reversal along the first axis a value is."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "ReverseSequence" or node.domain:
        return None
    x, lengths = node.inputs
    axes = attribute(node, "time_axis", 0), attribute(node, "batch_axis", 1)
    length = extent(x, 0)
    whole = length is not None and measured_everywhere(lengths) == length
    return x if axes == (0, 1) and whole else None


def _reverse(layer: ir.Node) -> bool:
    """Let a layer run in reverse over a sequence that was reversed for it, and back after it."""
    x = _reversed(layer.inputs[0])
    y = layer.outputs[0]
    if x is None or _direction(layer) != "forward" or y.is_graph_output():
        return False
    results = []
    for use in y.uses():
        squeezed = use.node.outputs[0]
        if use.node.op_type != "Squeeze" or _axes(squeezed) != [1] or squeezed.is_graph_output():
            return False
        readers = [reader.node for reader in squeezed.uses()]
        back = [node for node in readers if _reversed(node.outputs[0]) is squeezed]
        if any(node not in back and not _only_sized(node) for node in readers):
            return False
        results += [(node, squeezed) for node in back]
    layer.replace_input_with(0, x)
    layer.attributes["direction"] = ir.AttrString("direction", "reverse")
    for node, squeezed in results:
        replace_output(node.outputs[0], _copy(node, squeezed))
        remove(node)
    return True


def _only_sized(node: ir.Node) -> bool:
    """Tell whether nothing but the shape of a result is read."""
    if node.op_type == "Shape":
        return True
    output = node.outputs[0]
    read = [use.node.op_type for use in output.uses()]
    return node.op_type == "Transpose" and not output.is_graph_output() and set(read) <= {"Shape"}


def _copy(node: ir.Node, value: ir.Value) -> ir.Value:
    identity = ir.node("Identity", [value], name=node.name)
    copy, output = identity.outputs[0], node.outputs[0]
    copy.shape, copy.type = output.shape, output.type
    insert(node, [identity])
    return copy
