"""Windows over a sequence that was made an image one pixel high: the axis goes again.

TensorFlow has convolutions and pools of images only; those of sequences stand between an Unsqueeze
and a Squeeze. The Unsqueeze moves behind them, where the Squeeze ends it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .operators import lookup
from .report import Report
from .values import constant, dims, insert, integers, new_constant, rank, replace

_NEUTRAL = {"kernel_shape": 1, "strides": 1, "dilations": 1, "output_padding": 0, "output_shape": 1}
_SAME_SIZE = "SAME"  # beginning of the values of auto_pad that depend on the size


def drop_unit_axes(model: ir.Model, report: Report) -> int:
    """Take windows over an axis of size 1 off that axis; returns how many."""
    count = 0
    for graph in model.graphs():
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
    made = ir.node(node.op_type, inputs, attributes, name=node.name)
    back = ir.node("Unsqueeze", [made.outputs[0], first.inputs[1]])
    result, sizes = made.outputs[0], dims(node.outputs[0])
    result.name, result.type = f"{node.outputs[0].name}.flat", node.outputs[0].type
    if sizes is not None:
        result.shape = ir.Shape(sizes[:axis] + sizes[axis + 1 :])
    back.outputs[0].type = node.outputs[0].type
    insert(node, [made, back])
    report.explain(f"{node.op_type} {node.name!r} taken off an axis of size 1")
    return replace(node, back.outputs[0])


def _without(node: ir.Node, place: int, spatial: int) -> dict[str, ir.Attr] | None:
    """Attributes without an axis of the window; None if something happens along it."""
    kept = dict(node.attributes)
    auto = kept["auto_pad"].as_string() if "auto_pad" in kept else "NOTSET"
    strides = list(kept["strides"].as_ints()) if "strides" in kept else [1] * spatial
    if node.op_type == "ConvTranspose" and auto.startswith(_SAME_SIZE) and strides[place] != 1:
        return None
    for name in _NEUTRAL.keys() & kept.keys():
        values = list(kept[name].as_ints())
        # What one pixel gives does not depend on how far the window moves, or its taps are apart.
        if values[place] != _NEUTRAL[name] and name not in ("strides", "dilations"):
            return None
        kept[name] = ir.AttrInt64s(name, values[:place] + values[place + 1 :])
    if "pads" in kept:
        pads = np.array(kept["pads"].as_ints(), np.int64).reshape(2, spatial)
        if pads[:, place].any():
            return None
        kept["pads"] = ir.AttrInt64s("pads", np.delete(pads, place, axis=1).reshape(-1).tolist())
    return kept
