"""Products of tensors of 16 bits and constants of 8 as two products of bytes: for a runtime only.

``q - z`` is ``256 (h - zh) + (l - zl)``, with ``h`` and ``l`` the upper and lower bytes of ``q``,
so the sums of both are exact. Together they take half of the time of floats where bytes take a
quarter.
Weights are read twice: products of few rows stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from .edits import insert, new_constant, remove, replace
from .few_bit_operands import few_bits, widen
from .integer_products import is_plain_gemm
from .quantized_values import dequantized, scales_along, zero_point
from .values import attribute, constant, graphs, static_shape

_SHORTS = (ir.DataType.INT16, ir.DataType.UINT16)
_SINCE = 18
"""Opset of BitwiseAnd."""
_LEAST_ROWS = 8
_LEAST = 1 << 14
"""Weights below which it is not worth it."""
_HIGH = 256.0


def multiply_bytes(model: ir.Model, pays: Callable[[], bool]) -> None:
    """Multiply the bytes of dequantized tensors of 16 bits, in place.

    ``pays`` tells whether two products of bytes are faster than one of floats; it is asked only
    where there is such a product, for the answer may have to be measured.
    """
    if (model.graph.opset_imports.get("") or 0) < _SINCE:
        return
    planes: dict[ir.Node, tuple[ir.Value, ir.Value]] = {}
    for graph in graphs(model):
        for node in list(graph):
            found = None if node.domain else _operands(node)
            if found is not None and pays():
                _rewrite(graph, node, *found, planes)


def _operands(node: ir.Node) -> tuple[ir.Node, ir.Node] | None:
    """Return what dequantizes the operands of a product that may be one of bytes."""
    if node.op_type != "MatMul" and not is_plain_gemm(node):
        return None
    left = _shorts(node.inputs[0])
    right = dequantized(node.inputs[1]) or few_bits(node.inputs[1])
    if (
        left is None
        or right is None
        or not scales_along(right, 0 if attribute(node, "transB", 0) else 1)
    ):
        return None
    weights, rows = constant(right.inputs[0]), static_shape(left.inputs[0])  # type: ignore[arg-type]
    if weights is None or weights.ndim != 2 or weights.size < _LEAST or not rows:
        return None
    return (left, right) if np.prod(rows[:-1]) >= _LEAST_ROWS else None


def _shorts(value: ir.Value | None) -> ir.Node | None:
    """Return the node that makes float32 of a tensor of 16 bits with one constant scale."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or attribute(node, "block_size", 0):
        return None
    x, scale, zero = node.inputs[0], constant(node.inputs[1]), zero_point(node)
    if x is None or x.dtype not in _SHORTS or constant(x) is not None:
        return None
    is_known = zero is None or constant(zero) is not None
    is_one = scale is not None and scale.size == 1 and scale.dtype == np.float32
    return node if is_known and is_one else None


def _rewrite(
    graph: ir.Graph, node: ir.Node, left: ir.Node, right: ir.Node,
    planes: dict[ir.Node, tuple[ir.Value, ir.Value]],
) -> None:  # fmt: skip
    if few_bits(right.outputs[0]) is not None:
        widen(graph, right)
    scale, columns = constant(left.inputs[1]), constant(right.inputs[1])
    assert scale is not None and columns is not None
    weights = right.inputs[0]
    if attribute(node, "transB", 0):
        lying = constant(weights)
        assert lying is not None
        weights = new_constant(graph, np.ascontiguousarray(lying.T), f"{node.name}.weights")
    if left not in planes:
        planes[left] = _planes(graph, left)
    point = _point(left)
    parts = []
    for plane, byte, what in zip(planes[left], divmod(point, 256), ("high", "low"), strict=True):
        name = f"{node.name}.{what}"
        zero = new_constant(graph, np.array(byte, np.uint8), f"{name}.zero")
        inputs = [plane, weights, zero, zero_point(right)]
        sums = _made(node, "MatMulInteger", inputs if inputs[-1] else inputs[:3], f"{name}.sums",
                     ir.DataType.INT32)  # fmt: skip
        floats = _made(node, "Cast", [sums], f"{name}.cast", ir.DataType.FLOAT, to=1)
        weight = np.float64(_HIGH if what == "high" else 1.0) * scale.reshape(())
        factor = new_constant(graph, (weight * columns).astype(np.float32), f"{name}.scale")
        parts.append(_made(node, "Mul", [floats, factor], f"{name}.scaled", ir.DataType.FLOAT))
    result = _made(node, "Add", parts, f"{node.name}.joined", ir.DataType.FLOAT)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        inputs = [result, node.inputs[2]]
        result = _made(node, "Add", inputs, f"{node.name}.added", ir.DataType.FLOAT)
    replace(node, result)
    for each in (left, right):
        if not each.outputs[0].uses() and not each.outputs[0].is_graph_output():
            remove(each)


def _point(left: ir.Node) -> int:
    """Zero point, counted from the least number of its type."""
    zero, x = constant(zero_point(left)), left.inputs[0]
    least = -(1 << 15) if x is not None and x.dtype == ir.DataType.INT16 else 0
    return (0 if zero is None else int(zero.reshape(()))) - least


def _planes(graph: ir.Graph, left: ir.Node) -> tuple[ir.Value, ir.Value]:
    """Insert what takes numbers of 16 bits apart: upper and lower bytes, uint8."""
    x = left.inputs[0]
    assert x is not None
    name, word = f"{x.name}.{left.name}", ir.DataType.UINT16
    if x.dtype == ir.DataType.INT16:  # counted from the least number
        wide = _made(left, "Cast", [x], f"{name}.wide", ir.DataType.INT32, to=ir.DataType.INT32)
        offset = new_constant(graph, np.array(1 << 15, np.int32), f"{name}.offset")
        moved = _made(left, "Add", [wide, offset], f"{name}.moved", ir.DataType.INT32)
        x = _made(left, "Cast", [moved], f"{name}.words", word, to=word)
    eight, mask = (new_constant(graph, np.array(n, np.uint16), f"{name}.{n}") for n in (8, 255))
    parts = (
        _made(left, "BitShift", [x, eight], f"{name}.upper", word, direction="RIGHT"),
        _made(left, "BitwiseAnd", [x, mask], f"{name}.lower", word),
    )
    kind = ir.DataType.UINT8
    high, low = (_made(left, "Cast", [part], f"{part.name}.bytes", kind, to=kind) for part in parts)
    return high, low


def _made(
    before: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], name: str, kind: ir.DataType,
    **attributes: int | str,
) -> ir.Value:  # fmt: skip
    """Insert a node whose result has the shape of another's; returns it."""
    given = {k: v if isinstance(v, str) else int(v) for k, v in attributes.items()}
    node = ir.node(op_type, inputs, given, name=name)
    value = node.outputs[0]
    value.name, value.type, value.shape = name, ir.TensorType(kind), before.outputs[0].shape
    insert(before, [node])
    return value
