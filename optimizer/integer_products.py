"""Products of dequantized operands as products of integers: for a runtime, not for what others get.

``(a - az) as @ (b - bz) bs`` is ``((a - az) @ (b - bz)) (as bs)``: the sums are exact, and integers
of 8 bits are multiplied faster than floats.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .edits import insert, make_constant, register, remove, replace
from .values import attribute, constant, rank

_BYTES = (ir.DataType.INT8, ir.DataType.UINT8)


def multiply_integers(model: ir.Model) -> None:
    """Let products of dequantized tensors and constants multiply the integers, in place."""
    for graph in model.graphs():
        for node in list(graph):
            if node.op_type == "MatMul" and not node.domain:
                _multiply(graph, node)


def _multiply(graph: ir.Graph, node: ir.Node) -> None:
    left, right = (_dequantized(value) for value in node.inputs)
    if left is None or right is None:
        return
    scale, columns = constant(left.inputs[1]), constant(right.inputs[1])
    if scale is None or scale.size != 1 or columns is None or not _by_column(right):
        return
    inputs = [left.inputs[0], right.inputs[0], _zero(left), _zero(right)]
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
    replace(node, product.outputs[0])
    for each in {left, right}:
        if not each.outputs[0].uses() and not each.outputs[0].is_graph_output():
            remove(each)


def _dequantized(value: ir.Value | None) -> ir.Node | None:
    """Return the node that a float32 made of 8 bits comes from."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or attribute(node, "block_size", 0):
        return None
    x, scale = node.inputs[:2]
    floats = scale is not None and scale.dtype == ir.DataType.FLOAT
    return node if floats and x is not None and x.dtype in _BYTES else None


def _by_column(node: ir.Node) -> bool:
    """Tell whether a constant matrix has one scale, or one for each column."""
    x, scale = node.inputs[:2]
    if constant(x) is None or rank(x) != 2:
        return False
    return rank(scale) == 0 or (rank(scale) == 1 and attribute(node, "axis", 1) in (1, -1))


def _zero(node: ir.Node) -> ir.Value | None:
    return node.inputs[2] if len(node.inputs) > 2 else None
