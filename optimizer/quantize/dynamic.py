"""Dynamic quantization: products of integers whose left side is quantized in each run."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import onnx_ir as ir

from ..edits import insert, new_constant, replace
from ..values import attribute
from .products import Product, products
from .weights import by_channel

Quantizers: TypeAlias = dict[tuple[ir.Graph, ir.Value], ir.Node]
"""What quantizes a tensor, in the graph that reads it."""


def write_dynamic(model: ir.Model) -> int:
    """Let products with constant weights multiply integers, in place; returns their number.

    Weights are int8 with one scale a column; the left side is uint8 with one scale a run.
    """
    quantizers: Quantizers = {}
    count = 0
    for product in products(model):
        if not attribute(product.node, "transA", 0):
            _write(product, quantizers)
            count += 1
    return count


def _write(product: Product, quantizers: Quantizers) -> None:
    graph, node = product.graph, product.node
    x = node.inputs[0]
    assert x is not None
    factors = {name: 1.0 for name in ("alpha", "beta")}
    factors |= {k: node.attributes[k].as_float() for k in factors if k in node.attributes}
    weights = product.weights if product.columns == 1 else product.weights.T
    integers, scales = by_channel(weights, 1)
    name = str(node.inputs[1].name) if node.inputs[1] is not None else ""
    matrix = new_constant(graph, integers, f"{name}.quantized")
    scale = new_constant(graph, (scales * factors["alpha"]).astype(np.float32), f"{name}.scale")

    def made(op_type: str, inputs: list[ir.Value], what: str, kind: ir.DataType) -> ir.Value:
        new = ir.node(op_type, inputs, name=f"{node.name}.{what}")
        if op_type == "Cast":
            new = ir.node(op_type, inputs, {"to": int(kind)}, name=f"{node.name}.{what}")
        value = new.outputs[0]
        value.name, value.type = new.name, ir.TensorType(kind)
        if what != "units":
            value.shape = node.outputs[0].shape
        insert(node, [new])
        return value

    if (graph, x) not in quantizers:
        quantizers[graph, x] = _quantizer(node, x)
    numbers, unit, zero = quantizers[graph, x].outputs
    sums = made("MatMulInteger", [numbers, matrix, zero], "sums", ir.DataType.INT32)
    floats = made("Cast", [sums], "floats", ir.DataType.FLOAT)
    units = made("Mul", [unit, scale], "units", ir.DataType.FLOAT)
    result = made("Mul", [floats, units], "product", ir.DataType.FLOAT)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        if factors["beta"] != 1.0:
            beta = new_constant(graph, np.asarray(factors["beta"], np.float32), f"{node.name}.beta")
            bias = made("Mul", [bias, beta], "units", ir.DataType.FLOAT)
        result = made("Add", [result, bias], "sum", ir.DataType.FLOAT)
    replace(node, result)


def _quantizer(node: ir.Node, x: ir.Value) -> ir.Node:
    """Insert what quantizes a tensor by its own range, once for all products that read it."""
    new = ir.node("DynamicQuantizeLinear", [x], num_outputs=3, name=f"{x.name}.quantizer")
    kinds = (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8)
    for value, kind, what in zip(
        new.outputs, kinds, ("quantized", "scale", "zero_point"), strict=True
    ):
        value.name, value.type = f"{x.name}.{what}", ir.TensorType(kind)
        value.shape = x.shape if what == "quantized" else ir.Shape(())
    insert(node, [new])
    return new
