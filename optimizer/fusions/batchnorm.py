"""BatchNormalization with constant statistics: into the weights beside it, else Mul and Add."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..report import Report
from ..values import attribute, can_replace, constant, new_constant, rank, replace
from .affine import Affine, NotFolded, fold_into_consumer, fold_into_producer


def fold_batch_normalization(model: ir.Model, report: Report) -> int:
    """Fold BatchNormalization; returns the number of nodes folded."""
    count = 0
    for graph in model.graphs():
        for node in list(graph):
            if node.op_type == "BatchNormalization" and not node.domain:
                count += _fold(node, report)
    return count


def _fold(node: ir.Node, report: Report) -> bool:
    subject = f"BatchNormalization {node.name!r}"
    try:
        affine = _affine(node)
        done = _into_weights(node, affine) or _as_mul_add(node, affine)
    except NotFolded as reason:
        report.explain(f"{subject} not folded: {reason}", subject, node)
        return False
    report.explain(f"{subject} {done}", subject)
    return True


def _affine(node: ir.Node) -> Affine:
    """Scale and shift per channel."""
    extra = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    if attribute(node, "training_mode", 0) or extra:
        raise NotFolded("it is in training mode")
    if not attribute(node, "spatial", 1):
        raise NotFolded("it normalizes every position on its own")
    arrays = [constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays):
        raise NotFolded("its statistics are not constant")
    scale, bias, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
        narrow = np.array([factor, shift]).astype(np.float32)
    if not np.isfinite(narrow).all():
        raise NotFolded("its scale and shift are not finite")
    return Affine(factor, shift)


def _into_weights(node: ir.Node, affine: Affine) -> str:
    """Fold into the node before or, where that is exact, the one after; says which."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    before = x.producer()
    if before is not None and before.graph is node.graph:
        try:
            fold_into_producer(x, affine)
        except NotFolded:
            pass
        else:
            replace(node, x)
            return f"folded into {before.name!r}, before it"
    uses = y.uses()
    if len(uses) != 1 or y.is_graph_output():
        return ""
    after = next(iter(uses)).node
    try:
        fold_into_consumer(y, after, affine)
    except NotFolded:
        return ""
    replace(node, x)
    return f"folded into {after.name!r}, after it"


def _as_mul_add(node: ir.Node, affine: Affine) -> str:
    x, graph = node.inputs[0], node.graph
    assert x is not None and isinstance(graph, ir.Graph)
    axes = rank(x)
    if axes is None or axes < 2 or x.dtype != ir.DataType.FLOAT:
        raise NotFolded("its input is not known to be float32 of some rank")
    shape = (-1, *[1] * (axes - 2))
    scale, offset = (
        new_constant(graph, values.astype(np.float32).reshape(shape), f"{node.name}.{name}")
        for values, name in ((affine.factor, "scale"), (affine.shift, "shift"))
    )
    scaled = ir.node("Mul", [x, scale], name=f"{node.name}.mul")
    shifted = ir.node("Add", [scaled.outputs[0], offset], name=f"{node.name}.add")
    for made in (scaled, shifted):
        made.outputs[0].shape, made.outputs[0].type = x.shape, x.type
    graph.insert_before(node, [scaled, shifted])
    assert can_replace(node, shifted.outputs[0])
    replace(node, shifted.outputs[0])
    return "turned into Mul and Add"
