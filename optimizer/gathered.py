"""Sequences that a Loop gathers element by element and that are joined behind it: scan outputs.

PyTorch writes so what a scripted loop appends to a list. Elements must be of one shape, which no
iteration decides: a Loop has no others as scan outputs.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, remove, replace_output
from .report import Report
from .values import Size, attribute, dims, graphs

_SINCE = 13  # the opset in which the axes of an Unsqueeze are an input


def gather_in_scans(model: ir.Model, report: Report) -> int:
    """Let loops give tensors instead of sequences that are only joined; returns how many."""
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return 0
    count = 0
    names = {size for value in model.graph.inputs for size in dims(value) or ()} - {None}
    for graph in list(graphs(model)):
        for node in list(graph):
            if node.op_type == "Loop" and not node.domain and node.graph is graph:
                count += _gather(node, names)
    return count


def _gather(loop: ir.Node, names: Collection[Size]) -> int:
    """Change the states of a loop that can be; returns how many."""
    count = 0
    for k in reversed(range(len(loop.inputs) - 2)):
        joints = _joints(loop, k)
        sizes = _element_sizes(loop, k, names) if joints else None
        if sizes is None or not all(_can_join(joint, sizes) for joint in joints):
            continue
        first = loop.inputs[2 + k].producer()  # type: ignore[union-attr]
        assert first is not None
        new, rows = _with_rows(loop, k, sizes)
        for joint in joints:
            _join(joint, list(first.inputs), rows, sizes)
        remove(loop)
        loop = new
        count += 1
    return count


def _joints(loop: ir.Node, k: int) -> list[ir.Node]:
    """Return the nodes that join what a state gathers, if it does and nothing else reads it."""
    body, start, final = loop.attributes["body"].as_graph(), loop.inputs[2 + k], loop.outputs[k]
    before, after = body.inputs[2 + k], body.outputs[1 + k]
    made, last = None if start is None else start.producer(), after.producer()
    if made is None or made.op_type not in ("SequenceEmpty", "SequenceConstruct"):
        return []
    if last is None or last.op_type != "SequenceInsert" or any(last.inputs[2:]):
        return []
    is_alone = len(list(before.uses())) == 1 and not list(after.uses())
    if last.inputs[0] is not before or not is_alone or list(body.outputs).count(after) > 1:
        return []
    joints = [user for user, _ in final.uses()]
    is_joined = all(
        user.op_type == "ConcatFromSequence" and user.graph is loop.graph for user in joints
    )
    return joints if is_joined and not final.is_graph_output() else []


def _element_sizes(loop: ir.Node, k: int, names: Collection[Size]) -> list[Size] | None:
    """Return the sizes of what is put into a sequence, if every iteration has the same."""
    last = loop.attributes["body"].as_graph().outputs[1 + k].producer()
    element = None if last is None else last.inputs[1]
    sizes = None if element is None or element.dtype is None else dims(element)
    if sizes is None or not all(isinstance(size, int) or size in names for size in sizes):
        return None
    return sizes


def _can_join(joint: ir.Node, sizes: list[Size]) -> bool:
    """Tell whether the sizes say what a Reshape that joins rows along an axis needs."""
    axis, is_new = attribute(joint, "axis", 0), attribute(joint, "new_axis", 0)
    rank = len(sizes) + is_new
    if not -rank <= axis < rank:
        return False
    others = [size for i, size in enumerate(sizes) if i != axis % rank]
    return bool(is_new) or all(isinstance(size, int) and size > 0 for size in others)


def _with_rows(loop: ir.Node, k: int, sizes: list[Size]) -> tuple[ir.Node, ir.Value]:
    """Make a loop that gives a scan output instead of a state, as its last output.

    Nothing reads the results of the old one any more but that state.
    """
    body = loop.attributes["body"].as_graph()
    last = body.outputs.pop(1 + k).producer()
    assert last is not None and last.inputs[1] is not None
    row = ir.node("Identity", [last.inputs[1]], name=f"{last.name}.row")
    row.outputs[0].type, row.outputs[0].shape = last.inputs[1].type, last.inputs[1].shape
    insert(last, [row])
    remove(last)
    body.inputs.pop(2 + k)
    body.outputs.append(row.outputs[0])
    inputs = [value for i, value in enumerate(loop.inputs) if i != 2 + k]
    new = ir.node("Loop", inputs, num_outputs=len(loop.outputs), name=loop.name)
    new.attributes["body"] = loop.attributes["body"]
    insert(loop, [new])
    others = [value for i, value in enumerate(loop.outputs) if i != k]
    for mine, old in zip(new.outputs, others, strict=False):
        mine.type = old.type
        replace_output(old, mine)
    rows = new.outputs[-1]
    rows.type, rows.shape = row.outputs[0].type, ir.Shape([None, *sizes])
    rows.name = f"{loop.outputs[k].name}.rows"
    return new, rows


def _join(joint: ir.Node, first: list[ir.Value | None], rows: ir.Value, sizes: list[Size]) -> None:
    """Replace a ConcatFromSequence of some elements and then rows."""
    graph = joint.graph
    assert isinstance(graph, ir.Graph)
    is_new = bool(attribute(joint, "new_axis", 0))
    rank = len(sizes) + is_new
    axis = attribute(joint, "axis", 0) % rank
    made: list[ir.Node] = []

    def add(op_type: str, inputs: list[ir.Value | None], **attributes: object) -> ir.Value:
        name = f"{joint.name}.{len(made)}"
        made.append(ir.node(op_type, inputs, attributes, name=name))  # type: ignore[arg-type]
        return made[-1].outputs[0]

    def numbers(values: list[int]) -> ir.Value:
        return new_constant(graph, np.array(values, np.int64), f"{joint.name}.sizes")

    order = [*range(1, axis + 1), 0, *range(axis + 1, len(sizes) + 1)]
    whole = add("Transpose", [rows], perm=order) if axis else rows
    parts = list(first)
    if is_new:
        parts = [add("Unsqueeze", [part, numbers([axis])]) for part in parts]
    else:
        shape = [-1 if i == axis else int(size or 0) for i, size in enumerate(sizes)]
        whole = add("Reshape", [whole, numbers(shape)])
    joined = add("Concat", [*parts, whole], axis=axis)
    joined.type = joint.outputs[0].type
    insert(joint, made)
    replace_output(joint.outputs[0], joined)
    remove(joint)
