"""Unit axes: convolutions and pools over an axis of size 1 do without it.

TensorFlow has convolutions and pools of images only; those of sequences are between an Unsqueeze
and a Squeeze. The Unsqueeze moves behind them, where it and the Squeeze cancel.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, replace
from .operators import lookup
from .report import Report
from .values import constant, dims, graphs, integers, rank

_NEUTRAL = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1}
_SAME_SIZE = "SAME"  # beginning of the values of auto_pad that depend on the size


def drop_unit_axes(model: ir.Model, report: Report) -> int:
    """Take windows over an axis of size 1 off that axis; returns how many."""
    count = 0
    for graph in graphs(model):
        for node in list(graph):
            if lookup(node).window and node.graph is graph:
                count += _drop(graph, node, report)
    return count


def _drop(graph: ir.Graph, node: ir.Node, report: Report) -> bool:
    x = node.inputs[0]
    first = None if x is None else x.producer()
    if first is None or first.op_type != "Unsqueeze" or first.domain or first.graph is not graph:
        return False
    axes = integers(first.inputs[1]) if len(first.inputs) > 1 else None
    size = rank(x)
    if axes is None or len(axes) != 1 or size is None or size < 4 or len(node.outputs) > 1:
        return False
    axis = axes[0] % size
    attributes = _without(node, axis - 2, size - 2) if axis >= 2 else None
    inputs = [first.inputs[0], *node.inputs[1:]]
    if lookup(node).product and attributes is not None:
        weights = constant(node.inputs[1])
        if weights is None or weights.ndim != size or weights.shape[axis] != 1:
            return False
        inputs[1] = new_constant(graph, weights.squeeze(axis), f"{node.name}.weights")
    if attributes is None:
        return False
    window = ir.node(node.op_type, inputs, attributes, name=node.name)
    unsqueeze = ir.node("Unsqueeze", [window.outputs[0], first.inputs[1]])
    result, sizes = window.outputs[0], dims(node.outputs[0])
    result.name, result.type = f"{node.outputs[0].name}.flat", node.outputs[0].type
    if sizes is not None:
        result.shape = ir.Shape(sizes[:axis] + sizes[axis + 1 :])
    unsqueeze.outputs[0].type = node.outputs[0].type
    insert(node, [window, unsqueeze])
    report.explain(f"{node.op_type} {node.name!r} taken off an axis of size 1")
    return replace(node, unsqueeze.outputs[0])


def _without(node: ir.Node, axis: int, spatial: int) -> dict[str, ir.Attr] | None:
    """Attributes without a spatial axis; None if the window does anything along it."""
    attributes = dict(node.attributes)
    auto = attributes["auto_pad"].as_string() if "auto_pad" in attributes else "NOTSET"
    strides = list(attributes["strides"].as_ints()) if "strides" in attributes else [1] * spatial
    if node.op_type == "ConvTranspose" and auto.startswith(_SAME_SIZE) and strides[axis] != 1:
        return None
    for name in _NEUTRAL.keys() & attributes.keys():
        values = list(attributes[name].as_ints())
        # On an axis of size 1, strides and dilations have no effect.
        if values[axis] != _NEUTRAL[name] and name not in ("strides", "dilations"):
            return None
        attributes[name] = ir.AttrInt64s(name, values[:axis] + values[axis + 1 :])
    if "pads" in attributes:
        pads = np.array(attributes["pads"].as_ints(), np.int64).reshape(2, spatial)
        if pads[:, axis].any():
            return None
        attributes["pads"] = ir.AttrInt64s(
            "pads", np.delete(pads, axis, axis=1).reshape(-1).tolist()
        )
    return attributes
