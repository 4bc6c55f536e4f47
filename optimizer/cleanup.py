"""Cleanup: dead nodes, missing types and shapes, and operators that do nothing."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes import common

from ..custom_inference import infer
from .edits import insert, remove, remove_with_body, replace, replace_uses
from .operators import lookup
from .report import Report
from .symbols import Names, equate
from .values import dims, graphs, subgraphs


def remove_dead(model: ir.Model, report: Report) -> int:
    """Remove nodes nothing depends on, and make Constants initializers; returns how many."""
    before = sum(1 for _ in model.graph.all_nodes())
    _lift_constants(model)
    remove_unread(model)
    for graph in graphs(model):  # that pass looks at the weights of the main graph only
        for value in list(graph.initializers.values()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                graph.initializers.pop(str(value.name))
    return before - sum(1 for _ in model.graph.all_nodes())


def remove_unread(model: ir.Model) -> None:
    """Remove nodes and optional outputs that nobody reads, but no output that has to stay."""
    remove_unused(model.graph)
    kept = _kept_outputs(model)
    common.RemoveUnusedNodesPass()(model)  # which takes unused outputs off nodes, too
    for node, names in kept:
        if node.graph is None or not names:
            continue
        node.resize_outputs(max(len(node.outputs), max(names) + 1))
        for index, name in names.items():
            node.outputs[index].name = node.outputs[index].name or name


def _kept_outputs(model: ir.Model) -> list[tuple[ir.Node, dict[int, str]]]:
    """Names of outputs that may not be left out, by the indices that nodes have them at."""
    found = []
    for node in model.graph.all_nodes():
        rule = lookup(node).kept
        if rule is not None:
            found.append((node, {index: node.outputs[index].name or "" for index in rule(node)}))
    return found


def _lift_constants(model: ir.Model) -> None:
    for graph in graphs(model):
        for node in list(graph):
            output = node.outputs[0] if node.op_type == "Constant" and not node.domain else None
            if output is None or output.is_graph_output() or list(node.attributes) != ["value"]:
                continue
            tensor = node.attributes["value"].as_tensor()
            kind, shape = ir.TensorType(tensor.dtype), ir.Shape(tensor.shape.numpy())
            value = ir.Value(name=output.name, shape=shape, type=kind, const_value=tensor)
            graph.register_initializer(value)
            replace_uses(output, value)
            remove(node)


def remove_unused(graph: ir.Graph) -> None:
    """Remove the nodes of a graph, and of those inside it, whose results nothing reads."""
    for node in reversed(graph):
        if any(value.is_graph_output() or value.uses() for value in node.outputs):
            for body in subgraphs(node):
                remove_unused(body)
        else:
            remove_with_body(node)


def infer_shapes(model: ir.Model, report: Report) -> int:
    """Fill in types and shapes that are missing; changes no node."""
    values = (value for graph in graphs(model) for node in graph for value in node.outputs)
    if any(value.name and (value.shape is None or value.dtype is None) for value in values):
        infer(model)
    return 0


def eliminate_no_ops(model: ir.Model, report: Report) -> int:
    """Remove operators that return their input as it is."""
    names, count = Names(model), 0
    for graph in graphs(model):
        for node in list(graph):
            rule = lookup(node).unchanged
            if rule is None or not node.inputs or node.inputs[0] is None:
                continue
            x = rule(node)
            if x is not None and replace(node, x):
                sizes = dims(x)
                if sizes is not None:
                    equate(names, node.outputs[0], sizes)
                count += 1
    return count


def resolve_cast_like(model: ir.Model, report: Report) -> int:
    """Turn CastLike into Cast where the type is known: only then can constants be folded."""
    count = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type != "CastLike" or node.domain or len(node.inputs) != 2:
                continue
            x, like = node.inputs
            if x is None or like is None or like.dtype is None:
                continue
            options = {k: v for k, v in node.attributes.items() if k in ("saturate", "round_mode")}
            cast = ir.node("Cast", [x], {**options, "to": int(like.dtype)}, name=node.name)
            cast.outputs[0].shape = node.outputs[0].shape
            cast.outputs[0].type = ir.TensorType(like.dtype)
            insert(node, [cast])
            count += replace(node, cast.outputs[0])
    return count
