"""BatchNormalization with constant statistics: into the weights before it, else Mul and Add."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from ..values import constant, new_constant, replace
from .affine import scale_weights

if TYPE_CHECKING:
    from ..pipeline import Report


def _statistics(node: ir.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift per channel, in float64."""
    arrays = [constant(value) for value in node.inputs[1:5]]
    if any(array is None for array in arrays):
        return None
    scale, bias, mean, variance = (np.asarray(a, np.float64) for a in arrays)
    epsilon = node.attributes["epsilon"].as_float() if "epsilon" in node.attributes else 1e-5
    factor = scale / np.sqrt(variance + epsilon)
    return factor, bias - mean * factor


def fold_batch_normalization(model: ir.Model, report: Report) -> int:
    """Fold BatchNormalization; returns the number of nodes folded."""
    count = 0
    for node in list(model.graph):
        if node.op_type != "BatchNormalization" or node.domain:
            continue
        training = node.attributes.get("training_mode")
        extra = any(v.uses() or v.is_graph_output() for v in node.outputs[1:])
        if (training is not None and training.as_int()) or extra:
            report.explain(f"{node.name}: BatchNormalization not folded, it is in training mode")
            continue
        affine = _statistics(node)
        x = node.inputs[0]
        if affine is None or x is None:
            report.explain(f"{node.name}: BatchNormalization not folded, not constant")
            continue
        if scale_weights(model, x, *affine) and replace(node, x):
            report.explain(f"{node.name}: BatchNormalization folded into {x.producer()}")
            count += 1
        elif x.shape is not None and x.dtype == ir.DataType.FLOAT:
            count += _as_mul_add(model, node, x, *affine)
    return count


def _as_mul_add(
    model: ir.Model, node: ir.Node, x: ir.Value, factor: np.ndarray, shift: np.ndarray
) -> int:
    output = node.outputs[0]
    if output.is_graph_output():
        return 0
    assert x.shape is not None
    shape = (-1, *[1] * (len(x.shape) - 2))
    scale, offset = (
        new_constant(model.graph, values.astype(np.float32).reshape(shape), f"{node.name}.{name}")
        for values, name in ((factor, "scale"), (shift, "shift"))
    )
    scaled = ir.node("Mul", [x, scale], name=f"{node.name}.mul")
    shifted = ir.node("Add", [scaled.outputs[0], offset], name=f"{node.name}.add")
    for made in (scaled, shifted):
        made.outputs[0].shape, made.outputs[0].type = x.shape, x.type
    model.graph.insert_before(node, [scaled, shifted])
    return int(replace(node, shifted.outputs[0]))
