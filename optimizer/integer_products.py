"""Products of dequantized operands as products of integers: for a runtime, not for what others get.

``(a - az) as @ (b - bz) bs`` is ``((a - az) @ (b - bz)) (as bs)``: the sums are exact, and integers
of 8 bits are multiplied faster than floats.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .edits import insert, make_constant, register, remove, replace
from .quantized_values import Grid, dequantized, scales_along, zero_point
from .values import attribute, constant, graphs, rank


def multiply_integers(model: ir.Model) -> None:
    """Let products of dequantized tensors and constants multiply the integers, in place."""
    for graph in graphs(model):
        for node in list(graph):
            if not node.domain and (node.op_type == "MatMul" or is_plain_gemm(node)):
                _multiply(graph, node)


def is_plain_gemm(node: ir.Node) -> bool:
    """Tell whether a node is a Gemm that neither scales nor transposes its first operand."""
    scales = [node.attributes[name].value for name in ("alpha", "beta") if name in node.attributes]
    plain = all(scale == 1.0 for scale in scales) and not attribute(node, "transA", 0)
    return node.op_type == "Gemm" and plain


def _multiply(graph: ir.Graph, node: ir.Node) -> None:
    left, right = (dequantized(value) for value in node.inputs[:2])
    if left is None or right is None:
        return
    is_turned = bool(attribute(node, "transB", 0))
    scale, columns = constant(left.inputs[1]), constant(right.inputs[1])
    if scale is None or scale.size != 1 or columns is None or not _by_column(right, is_turned):
        return
    weights = right.inputs[0]
    if is_turned:
        turned = constant(weights)
        assert turned is not None
        weights = make_constant(turned.T, f"{node.name}.weights")
        register(graph, weights)
    inputs = [left.inputs[0], weights, zero_point(left), zero_point(right)]
    while inputs[-1] is None:
        inputs.pop()
    sums = ir.node("MatMulInteger", inputs, name=f"{node.name}.sums")
    floats = ir.node("Cast", sums.outputs, {"to": int(ir.DataType.FLOAT)}, name=f"{node.name}.cast")
    factor = make_constant((scale.reshape(()) * columns).astype(np.float32), f"{node.name}.scale")
    product = ir.node("Mul", [floats.outputs[0], factor], name=f"{node.name}.scaled")
    for made, kind in ((sums, "INT32"), (floats, "FLOAT"), (product, "FLOAT")):
        made.outputs[0].name = made.name
        made.outputs[0].type = ir.TensorType(ir.DataType[kind])
        made.outputs[0].shape = node.outputs[0].shape
    register(graph, factor)
    insert(node, [sums, floats, product])
    result = product.outputs[0]
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        added = ir.node("Add", [result, node.inputs[2]], name=f"{node.name}.added")
        result, added.outputs[0].name = added.outputs[0], added.name
        result.type, result.shape = product.outputs[0].type, product.outputs[0].shape
        insert(node, [added])
    replace(node, result)
    for each in {left, right}:
        if not each.outputs[0].uses() and not each.outputs[0].is_graph_output():
            remove(each)


def _by_column(node: ir.Node, is_turned: bool) -> bool:
    """Tell whether a matrix has one scale, or a constant one one for each column of the product."""
    if constant(node.inputs[0]) is None:
        return not is_turned and Grid.of(node) is not None
    return rank(node.inputs[0]) == 2 and scales_along(node, 0 if is_turned else 1)
