"""Constants of 2 and 4 bits that meet bytes, as bytes: for a runtime, not for what others get.

A convolution or a product of such constants and a dequantized tensor of 8 bits is one of integers
then. Products of few rows keep constants as they are: the time they take is that of reading them.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from .edits import new_constant, set_inputs
from .quantized_values import dequantized, scales_along, zero_point
from .values import attribute, constant, dims, graphs

_TYPES = (ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2, ir.DataType.UINT2)
_MOST_ROWS = 4
"""Of a product that reads weights of few bits as they lie."""


def widen_to_bytes(model: ir.Model) -> None:
    """Widen constants of few bits that products and convolutions of bytes read, in place."""
    for graph in graphs(model):
        for node in list(graph):
            if node.domain or node.op_type not in ("Conv", "MatMul", "Gemm"):
                continue
            left, maker = dequantized(node.inputs[0]), few_bits(node.inputs[1])
            if left is None or maker is None or constant(left.inputs[0]) is not None:
                continue
            if scales_along(maker, _axis(node)) and not _has_few_rows(node):
                widen(graph, maker)


def few_bits(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes float32 of constants of few bits, not by blocks, else None."""
    maker = None if value is None else value.producer()
    if maker is None or maker.op_type != "DequantizeLinear" or maker.domain:
        return None
    x, scale = maker.inputs[:2]
    if x is None or x.dtype not in _TYPES or attribute(maker, "block_size", 0):
        return None
    zero = zero_point(maker)
    is_known = constant(x) is not None and (zero is None or constant(zero) is not None)
    return maker if is_known and scale is not None and scale.dtype == ir.DataType.FLOAT else None


def _axis(node: ir.Node) -> int:
    """Axis of constants whose places are those of results."""
    return 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1


def _has_few_rows(node: ir.Node) -> bool:
    left = node.inputs[0]
    sizes = None if left is None else dims(left)
    if node.op_type == "Conv" or not sizes:
        return False
    known = [size for size in sizes[:-1] if isinstance(size, int)]
    return len(known) == len(sizes) - 1 and int(np.prod(known)) <= _MOST_ROWS


def widen(graph: ir.Graph, maker: ir.Node) -> None:
    """Let a node of `few_bits` dequantize bytes."""
    operands = {0: maker.inputs[0], 2: zero_point(maker)}
    changes = {}
    for index, value in operands.items():
        numbers = constant(value)
        if value is not None and numbers is not None:
            changes[index] = new_constant(graph, numbers.astype(np.int8), f"{value.name}.bytes")
    set_inputs(maker, changes)
