"""Averages, Softmax and LRN of quantized tensors as operators on bytes: for a runtime only.

Between a DequantizeLinear and a QuantizeLinear, each with one constant scale, they become the
operators of com.microsoft that read and write bytes, which importers write as such chains. Means
over all of an image are GlobalAveragePool, however a model writes them. LRN, for which
com.microsoft has none, becomes one of a domain of ours.
"""

from __future__ import annotations

import onnx_ir as ir

from .edits import insert, new_constant, remove, replace
from .quantized_values import Grid, dequantized
from .values import attribute, axes_of, graphs, rank, used_once

_DOMAIN, _OWN_DOMAIN = "com.microsoft", "sardonyx"
_SINCE = 13  # the opset from which Softmax has one axis
_MOST_CHANNELS = 128  # of a window of LRN


def compute_bytes(model: ir.Model) -> None:
    """Let averages and Softmax between bytes take and give these, in place."""
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return
    for graph in graphs(model):
        for node in list(graph):
            if node.domain or node.op_type not in _REPLACEMENTS or len(node.outputs) != 1:
                continue
            image, quantizer = dequantized(node.inputs[0]), _quantizer(node.outputs[0])
            if image is not None and quantizer is not None:
                _rewrite(graph, image, node, quantizer)


def dequantize_late(model: ir.Model) -> None:
    """Move each DequantizeLinear in front of the node that alone reads it, in place.

    Between them there are bytes, and the node's step may dequantize them itself.
    """
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type != "DequantizeLinear" or node.domain or not used_once(node.outputs[0]):
                continue
            (reader,) = node.outputs[0].consumers()
            if reader.graph is graph:
                insert(reader, [node])


def _quantizer(value: ir.Value) -> ir.Node | None:
    """Return the QuantizeLinear that alone reads a value."""
    if not used_once(value):
        return None
    (reader,) = value.consumers()
    return reader if reader.op_type == "QuantizeLinear" and reader.inputs[0] is value else None


def _rewrite(graph: ir.Graph, image: ir.Node, node: ir.Node, quantizer: ir.Node) -> None:
    grids = [Grid.of(image), Grid.of(quantizer)]
    if not all(grid is not None and grid.is_regular for grid in grids):
        return
    made = _REPLACEMENTS[node.op_type](node)
    if made is None:
        return
    op_type, attributes, domain = made
    inputs = [image.inputs[0]]
    for what, grid in zip("xy", grids, strict=True):
        assert grid is not None
        inputs.append(new_constant(graph, grid.scale, f"{node.name}.{what}.scale"))
        inputs.append(new_constant(graph, grid.zero, f"{node.name}.{what}.zero"))
    integers = ir.node(op_type, inputs, attributes, domain=domain, name=node.name)
    y, old = integers.outputs[0], quantizer.outputs[0]
    y.name, y.type, y.shape = f"{node.name}.integers", old.type, old.shape
    insert(quantizer, [integers])
    replace(quantizer, y)
    for each in (node, image):
        if not each.outputs[0].uses() and not each.outputs[0].is_graph_output():
            remove(each)


Replacement = tuple[str, dict[str, ir.Attr], str]
"""Operator, attributes and domain."""


def _pool(node: ir.Node) -> Replacement:
    return f"QLinear{node.op_type}", dict(node.attributes), _DOMAIN


def _response(node: ir.Node) -> Replacement | None:
    """Return what LRN of an image is, unless its window is wider than a kernel takes."""
    is_image = (rank(node.inputs[0]) or 0) > 2
    if not is_image or attribute(node, "size", 0) > _MOST_CHANNELS:
        return None
    return "QLinearLRN", dict(node.attributes), _OWN_DOMAIN


def _mean(node: ir.Node) -> Replacement | None:
    """Return what a mean over all spatial axes, which stay, is."""
    axes, axis_count = axes_of(node), rank(node.inputs[0])
    if axes is None or axis_count is None or not attribute(node, "keepdims", 1):
        return None
    is_global = sorted(axis % axis_count for axis in axes) == list(range(2, axis_count))
    return ("QLinearGlobalAveragePool", {}, _DOMAIN) if is_global and axis_count > 2 else None


def _softmax(node: ir.Node) -> Replacement:
    numbers = {"axis": attribute(node, "axis", -1), "opset": _SINCE}
    made = {name: ir.AttrInt64(name, number) for name, number in numbers.items()}
    return "QLinearSoftmax", made, _DOMAIN


_REPLACEMENTS = {
    "AveragePool": _pool,
    "GlobalAveragePool": _pool,
    "LRN": _response,
    "ReduceMean": _mean,
    "Softmax": _softmax,
}
