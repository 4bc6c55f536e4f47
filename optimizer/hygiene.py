"""Keeps a graph tidy: dead nodes, duplicates, and operators that do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir
from onnx_ir.passes import common

if TYPE_CHECKING:
    from .pipeline import Report


def clean(model: ir.Model, report: Report) -> int:
    """Remove dead and duplicate nodes; returns by how many nodes the graph shrank."""
    before = len(model.graph)
    common.LiftConstantsToInitializersPass(lift_all_constants=False, size_limit=0)(model)
    common.RemoveUnusedNodesPass()(model)
    common.CommonSubexpressionEliminationPass()(model)
    common.RemoveUnusedNodesPass()(model)
    return before - len(model.graph)


def constant(value: ir.Value | None) -> np.ndarray | None:
    """Contents of a value when it is constant, else None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    return np.asarray(value.const_value.numpy()).reshape(value.const_value.shape.numpy())


def replace(node: ir.Node, value: ir.Value) -> bool:
    """Let ``value`` take the place of a node's only output; False for an output of the graph."""
    output = node.outputs[0]
    if output.is_graph_output():
        return False
    if value.shape is None:
        value.shape = output.shape
    ir.convenience.replace_all_uses_with(output, value)
    node.graph.remove(node, safe=True)  # type: ignore[union-attr]
    return True


def _does_nothing(node: ir.Node) -> bool:
    kind = node.op_type
    x = node.inputs[0] if node.inputs else None
    if node.domain or x is None:
        return False
    if kind == "Dropout":
        training = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        given = len(node.inputs) > 2 and node.inputs[2] is not None
        mask = len(node.outputs) > 1 and node.outputs[1].uses()
        return not mask and (not given or (training is not None and not training.any()))
    if kind == "Identity":
        return True
    if kind == "Cast":
        return x.dtype is not None and node.attributes["to"].as_int() == int(x.dtype)
    if kind == "Transpose":
        order = node.attributes.get("perm")
        return order is not None and list(order.as_ints()) == sorted(order.as_ints())
    if kind == "Pad":
        pads = constant(node.inputs[1]) if len(node.inputs) > 1 else None
        return pads is not None and not pads.any()
    if kind in ("Reshape", "Expand"):
        return _static(x) is not None and _static(x) == _static(node.outputs[0])
    return kind in ("Concat", "Sum", "Max", "Min", "Mean") and len(node.inputs) == 1


def _static(value: ir.Value) -> tuple[int, ...] | None:
    if value.shape is None or not all(isinstance(dim, int) for dim in value.shape):
        return None
    return tuple(int(dim) for dim in value.shape)  # type: ignore[arg-type]


def eliminate_no_ops(model: ir.Model, report: Report) -> int:
    """Remove operators that return their input as it is."""
    count = 0
    for node in list(model.graph):
        if _does_nothing(node):
            value = node.inputs[0]
            assert value is not None
            count += replace(node, value)
    return count


def resolve_cast_like(model: ir.Model, report: Report) -> int:
    """Turn CastLike into Cast where the type is known: only then can constants be folded."""
    count = 0
    for node in list(model.graph):
        if node.op_type != "CastLike" or node.domain or len(node.inputs) != 2:
            continue
        x, like = node.inputs
        output = node.outputs[0]
        if x is None or like is None or like.dtype is None or output.is_graph_output():
            continue
        kept = {k: v for k, v in node.attributes.items() if k in ("saturate", "round_mode")}
        cast = ir.node("Cast", [x], {**kept, "to": int(like.dtype)}, name=node.name)
        cast.outputs[0].shape, cast.outputs[0].type = output.shape, ir.TensorType(like.dtype)
        model.graph.insert_before(node, cast)
        count += replace(node, cast.outputs[0])
    return count
