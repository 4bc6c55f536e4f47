"""BatchNormalization with constant statistics: into the weights beside it, else Mul and Add."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..edits import can_replace, new_constant, replace
from ..report import Report
from ..rewrite import NearMiss
from ..values import attribute, constant, graphs, rank
from .affine import ScaleShift, fold_into_consumer, fold_into_producer


def fold_batch_normalization(model: ir.Model, report: Report) -> int:
    """Fold BatchNormalization; returns the number of nodes folded."""
    count = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type == "BatchNormalization" and not node.domain:
                count += _fold(node, report)
    return count


def _fold(node: ir.Node, report: Report) -> bool:
    subject = f"BatchNormalization {node.name!r}"
    try:
        scaling = _scale_shift(node)
        outcome = _into_weights(node, scaling) or _as_mul_add(node, scaling)
    except NearMiss as reason:
        report.explain(f"{subject} not folded: {reason}", subject, node)
        return False
    report.explain(f"{subject} {outcome}", subject)
    return True


def _scale_shift(node: ir.Node) -> ScaleShift:
    """Scale and shift per channel."""
    extra = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
    if attribute(node, "training_mode", 0) or extra:
        raise NearMiss("it is in training mode")
    if not attribute(node, "spatial", 1):
        raise NearMiss("it normalizes every position on its own")
    arrays = [constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays):
        raise NearMiss("its statistics are not constant")
    scale, bias, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    with np.errstate(all="ignore"):
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
        narrow = np.array([factor, shift]).astype(np.float32)
    if not np.isfinite(narrow).all():
        raise NearMiss("its scale and shift are not finite")
    return ScaleShift(factor, shift)


def _into_weights(node: ir.Node, scaling: ScaleShift) -> str:
    """Fold into the node before or, where that is exact, the one after; empty if into neither."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    before = x.producer()
    if before is not None and before.graph is node.graph:
        try:
            fold_into_producer(x, scaling)
        except NearMiss:
            pass
        else:
            replace(node, x)
            return f"folded into {before.name!r}, before it"
    uses = y.uses()
    if len(uses) != 1 or y.is_graph_output():
        return ""
    after = next(iter(uses)).node
    try:
        fold_into_consumer(y, after, scaling)
    except NearMiss:
        return ""
    replace(node, x)
    return f"folded into {after.name!r}, after it"


def _as_mul_add(node: ir.Node, scaling: ScaleShift) -> str:
    x, graph = node.inputs[0], node.graph
    assert x is not None and isinstance(graph, ir.Graph)
    axes = rank(x)
    if axes is None or axes < 2 or x.dtype != ir.DataType.FLOAT:
        raise NearMiss("its input is not known to be float32 of some rank")
    shape = (-1, *[1] * (axes - 2))
    scale, offset = (
        new_constant(graph, values.astype(np.float32).reshape(shape), f"{node.name}.{name}")
        for values, name in ((scaling.factor, "scale"), (scaling.shift, "shift"))
    )
    scaled = ir.node("Mul", [x, scale], name=f"{node.name}.mul")
    shifted = ir.node("Add", [scaled.outputs[0], offset], name=f"{node.name}.add")
    for new in (scaled, shifted):
        new.outputs[0].shape, new.outputs[0].type = x.shape, x.type
    graph.insert_before(node, [scaled, shifted])
    assert can_replace(node, shifted.outputs[0])
    replace(node, shifted.outputs[0])
    return "turned into Mul and Add"
