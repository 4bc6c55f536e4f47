"""Convolutions, products, pools and recurrent operators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from ..values import Size, constant, dims, rank
from .broadcasting import broadcast_sizes
from .record import Contents, Operator, Order, Reordered


def _reorder_product(node: ir.Node, value: ir.Value, order: Order) -> Reordered | None:
    """A product with a matrix sums over channels: when these come second, it is a convolution."""
    x, matrix = node.inputs[0], constant(node.inputs[1])
    size = len(order)
    if x is None or rank(x) != size or size < 3 or matrix is None or matrix.ndim != 2:
        return None
    plan = Reordered({x: order, node.outputs[0]: order})
    if order[-1] == size - 1:
        return plan
    if order[0] != 0 or order[-1] != 1 or matrix.dtype != np.float32:
        return None
    plan.op_type = "Conv"
    plan.constants[1] = matrix.T.reshape(*matrix.T.shape, *[1] * (size - 2))
    return plan


def _shape_of_product(node: ir.Node, target: Contents | None) -> list[Size] | None:
    """Sizes of a product of operands that are no vectors."""
    a, b = (None if x is None else dims(x) for x in node.inputs)
    if a is None or b is None or min(len(a), len(b)) < 2:
        return None
    batch = broadcast_sizes([a[:-2], b[:-2]])
    return None if batch is None else [*batch, a[-2], b[-1]]


_SINGLE_PIXEL = {"kernel_shape": 1, "strides": 1, "pads": 0}


def _single_pixels(node: ir.Node) -> ir.Value | None:
    """Return the input of a pool whose window has one element, at every position."""
    single = all(
        set(node.attributes[name].as_ints()) <= {number}
        for name, number in _SINGLE_PIXEL.items()
        if name in node.attributes
    )
    indices = any(value.uses() or value.is_graph_output() for value in node.outputs[1:])
    return node.inputs[0] if single and not indices else None


def _largest(node: ir.Node) -> Sequence[int]:
    """Return the input of a pool that tells no places."""
    return (0,) if len(node.outputs) == 1 else ()


def _presents(node: ir.Node) -> Sequence[int]:
    """Present key and value: onnxruntime wants both or none, and both where there is a past."""
    present = [index for index in (1, 2) if index < len(node.outputs)]
    is_read = any(node.outputs[i].uses() or node.outputs[i].is_graph_output() for i in present)
    has_past = any(value is not None for value in node.inputs[4:6])
    return present if is_read or has_past else ()


_POOL = Operator(window=True, unchanged=_single_pixels)
_CONVOLUTION = Operator(product=True, window=True)
_RECURRENT = Operator(recurrent=True)

OPERATORS = {
    "Attention": Operator(kept=_presents),
    "AveragePool": _POOL,
    "Conv": _CONVOLUTION,
    "ConvTranspose": _CONVOLUTION,
    "GRU": _RECURRENT,
    "Gemm": Operator(product=True),
    "LSTM": _RECURRENT,
    "MatMul": Operator(product=True, reorder=_reorder_product, shape=_shape_of_product),
    "MaxPool": replace(_POOL, carried=_largest),
    "RNN": _RECURRENT,
}
