"""Neighbouring movements of data: Transpose, Reshape and its kind, Slice, Concat."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from .values import attribute, dims, insert, integers, new_constant, replace, used_once

if TYPE_CHECKING:
    from .pipeline import Report

_RESHAPES = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze"])


def merge_movements(model: ir.Model, report: Report) -> int:
    """Merge each movement with the one before it; returns the number of nodes saved."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            merge = None if node.domain else _MERGES.get(node.op_type)
            if merge is not None and node.inputs and node.inputs[0] is not None:
                count += merge(graph, node)
    return count


def _before(node: ir.Node, kinds: frozenset[str]) -> ir.Node | None:
    """Node of one of the kinds that makes the first input."""
    x = node.inputs[0]
    producer = None if x is None else x.producer()
    if producer is None or producer.op_type not in kinds or producer.domain:
        return None
    return producer if producer.graph is node.graph and producer.inputs else None


def _put(node: ir.Node, made: ir.Node) -> bool:
    made.outputs[0].shape, made.outputs[0].type = node.outputs[0].shape, node.outputs[0].type
    insert(node, [made])
    if replace(node, made.outputs[0]):
        return True
    made.graph.remove(made, safe=True)  # type: ignore[union-attr]
    return False


def _permutation(node: ir.Node) -> list[int] | None:
    if "perm" in node.attributes:
        return list(node.attributes["perm"].as_ints())
    shape = node.inputs[0].shape  # type: ignore[union-attr]
    return None if shape is None else list(range(len(shape)))[::-1]


def _merge_transposes(graph: ir.Graph, node: ir.Node) -> bool:
    first = _before(node, frozenset(["Transpose"]))
    if first is None:
        return False
    inner, outer = _permutation(first), _permutation(node)
    if inner is None or outer is None:
        return False
    order = [inner[axis] for axis in outer]
    return _put(node, ir.node("Transpose", [first.inputs[0]], {"perm": order}, name=node.name))


def _merge_reshapes(graph: ir.Graph, node: ir.Node) -> bool:
    """Of two reshapes only the last matters, if its target can be told without the first."""
    first = _before(node, _RESHAPES)
    if first is None or not used_once(first.outputs[0]):
        return False
    target = integers(node.inputs[1]) if node.op_type == "Reshape" else None
    if target is not None and (0 in target or attribute(node, "allowzero", 0)):
        target = None
    if target is None:
        target = _target(node.outputs[0])
    if target is None:
        return False
    shape = new_constant(graph, np.array(target, np.int64), f"{node.outputs[0].name}.shape")
    return _put(node, ir.node("Reshape", [first.inputs[0], shape], name=node.name))


def _target(value: ir.Value) -> list[int] | None:
    """Target of a Reshape to the shape of a value: one size may be unknown, none zero."""
    sizes = dims(value)
    if sizes is None or 0 in sizes:
        return None
    target = [size if isinstance(size, int) else -1 for size in sizes]
    return target if target.count(-1) <= 1 else None


def _limits(node: ir.Node) -> list[tuple[int, int, int, int]] | None:
    """(axis, start, end, step) of a Slice with constant limits."""
    shape = node.inputs[0].shape  # type: ignore[union-attr]
    lists = [integers(value) for value in node.inputs[1:]]
    if len(lists) < 2 or None in lists or shape is None:
        return None
    starts, ends = lists[0] or [], lists[1] or []
    axes = lists[2] if len(lists) > 2 else list(range(len(starts)))
    steps = lists[3] if len(lists) > 3 else [1] * len(starts)
    rows = zip(axes or [], starts, ends, steps or [], strict=True)
    return [(axis % len(shape), start, end, step) for axis, start, end, step in rows]


def _merge_slices(graph: ir.Graph, node: ir.Node) -> bool:
    """Two slices along different axes are one."""
    first = _before(node, frozenset(["Slice"]))
    if first is None or not used_once(first.outputs[0]):
        return False
    inner, outer = _limits(first), _limits(node)
    if inner is None or outer is None or {row[0] for row in inner} & {row[0] for row in outer}:
        return False
    axes, starts, ends, steps = np.array([*inner, *outer], np.int64).T
    name = node.outputs[0].name
    operands = [
        new_constant(graph, array, f"{name}.{key}")
        for key, array in (("starts", starts), ("ends", ends), ("axes", axes), ("steps", steps))
    ]
    return _put(node, ir.node("Slice", [first.inputs[0], *operands], name=node.name))


def _merge_concats(graph: ir.Graph, node: ir.Node) -> bool:
    """A Concat of a Concat along the same axis, used nowhere else, is one."""
    rank = None if node.outputs[0].shape is None else len(node.outputs[0].shape)
    axis = attribute(node, "axis", 0)
    inputs: list[ir.Value | None] = []
    for value in node.inputs:
        part = None if value is None else value.producer()
        same = part is not None and part.op_type == "Concat" and not part.domain
        if part is not None and same and part.graph is node.graph and used_once(value):  # type: ignore[arg-type]
            inner = attribute(part, "axis", 0)
            if inner == axis or (rank is not None and inner % rank == axis % rank):
                inputs += part.inputs
                continue
        inputs.append(value)
    if len(inputs) == len(node.inputs):
        return False
    return _put(node, ir.node("Concat", inputs, {"axis": axis}, name=node.name))


_MERGES: dict[str, Callable[[ir.Graph, ir.Node], bool]] = {
    "Transpose": _merge_transposes,
    **dict.fromkeys(_RESHAPES, _merge_reshapes),
    "Slice": _merge_slices,
    "Concat": _merge_concats,
}
