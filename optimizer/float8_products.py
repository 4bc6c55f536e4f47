"""QLinearMatMul of float8 as a product between DequantizeLinear and QuantizeLinear.

Kernels of that operator multiply integers; numbers of float8 are floats in the end.
"""

from __future__ import annotations

import onnx_ir as ir

from .edits import insert, replace
from .quantized_values import BYTES
from .values import graphs, rank

_OPERANDS = ((0, -2), (3, -1))
"""First inputs of both operands, and the axis, from the end, that their scales lie along."""


def multiply_floats(model: ir.Model) -> None:
    """Replace each QLinearMatMul of float8, in place."""
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type == "QLinearMatMul" and not node.domain and _is_of_floats(node):
                _rewrite(node)


def _is_of_floats(node: ir.Node) -> bool:
    values = [node.inputs[index] for index in (0, 3, 7)]
    if any(value is None or value.dtype is None for value in values):
        return False
    return any(value is not None and value.dtype not in BYTES for value in values)


def _axis(node: ir.Node, first: int, side: int) -> int | None:
    """Return the axis that an operand's scales lie along; None where that is not known, or none."""
    axes, scale_axes = rank(node.inputs[first]), rank(node.inputs[first + 1])
    if axes is None or scale_axes is None or scale_axes > 1:
        return None
    return axes + side if axes > 1 else 0


def _rewrite(node: ir.Node) -> None:
    axes = [_axis(node, first, side) for first, side in _OPERANDS]
    if None in axes:
        return  # scales by matrix: left to the host
    operands = []
    for (first, _), axis, side in zip(_OPERANDS, axes, ("left", "right"), strict=True):
        name = f"{node.name}.{side}"
        made = ir.node(
            "DequantizeLinear", node.inputs[first : first + 3], {"axis": axis}, name=name
        )
        _describe(made.outputs[0], name, ir.DataType.FLOAT, node.inputs[first])
        operands.append(made)
    product = ir.node("MatMul", [each.outputs[0] for each in operands], name=f"{node.name}.product")
    _describe(product.outputs[0], str(product.name), ir.DataType.FLOAT, node.outputs[0])
    scale, zero = node.inputs[6:8]
    made = ir.node("QuantizeLinear", [product.outputs[0], scale, zero], name=node.name)
    assert zero is not None and zero.dtype is not None
    _describe(made.outputs[0], f"{node.name}.quantized", zero.dtype, node.outputs[0])
    insert(node, [*operands, product, made])
    replace(node, made.outputs[0])


def _describe(value: ir.Value, name: str, kind: ir.DataType, like: ir.Value | None) -> None:
    value.name, value.type = name, ir.TensorType(kind)
    value.shape = None if like is None else like.shape
