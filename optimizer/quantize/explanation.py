"""Explanation of quantized models: which nodes could compute with integers, and why some do not."""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

from ..operators import lookup
from ..quantized_values import BYTES, Grid, dequantized, scales_along
from ..values import attribute, constant, static_shape
from .regions import behind_limits

_PRODUCTS = ("Conv", "Gemm", "MatMul")
_INTEGERS = ("QLinear", "QGemm", "QAttention", "QMoE", "DynamicQuantize")
_LEFT = {
    "MatMulInteger": (0, 2), "ConvInteger": (1, 3), "QLinearMatMul": (0, 2), "QLinearConv": (0, 2),
    "QGemm": (0, 2), "MatMulIntegerToFloat": (0, 4),
}  # fmt: skip
"""Operand that onnxruntime has on the left of a product, and its zero point."""
_CHANGES = ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast")


def quantized_nodes(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the nodes that read dequantized tensors, or operate on integers by their definition.

    What only quantizes, dequantizes or casts is not among them.
    """
    for node in graph:
        if node.op_type in _CHANGES:
            continue
        if operates_on_integers(node) or any(_dequantizer(value) for value in node.inputs):
            yield node


def operates_on_integers(node: ir.Node) -> bool:
    """Tell whether a node computes with integers of 8 bits, or moves them."""
    if node.op_type in _CHANGES:
        return False
    if node.op_type.startswith(_INTEGERS) or "Integer" in node.op_type:
        return True
    return bool(node.inputs) and _is_bytes(node.inputs[0])


def multiplies_signed(node: ir.Node) -> bool:
    """Tell whether an operator of integers has int8 on the left of onnxruntime's product.

    That is the activation, but of ConvInteger the weights. In a file that states no types, the
    zero point says so.
    """
    places = _LEFT.get(node.op_type, ())
    given = [node.inputs[i] for i in places if i < len(node.inputs)]
    return any(value is not None and value.dtype == ir.DataType.INT8 for value in given)


def _is_bytes(value: ir.Value | None) -> bool:
    """Tell whether a tensor is of 8 bits; where a file states no types, by what makes it."""
    if value is None:
        return False
    if value.dtype is not None:
        return value.dtype in BYTES
    node = value.producer()
    if node is None or node.op_type in ("DequantizeLinear", "Cast"):
        return False
    if node.op_type in ("QuantizeLinear", "QLinearConv", "QLinearMatMul"):
        return True
    return node.op_type.startswith("QLinear") or (bool(node.inputs) and _is_bytes(node.inputs[0]))


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def float_reason(node: ir.Node) -> str:
    """Say why a node of `quantized_nodes` computes with floats here.

    Parameters
    ----------
    node : ir.Node
        Of the model as it was before the runtime's passes.
    """
    if node.op_type not in _PRODUCTS or node.domain:
        return _other_reason(node)
    for index, what in ((0, "activations"), (1, "weights")):
        reason = _operand_reason(node, index, what)
        if reason:
            return reason
    weights, left = dequantized(node.inputs[1]), dequantized(node.inputs[0])
    assert weights is not None
    if Grid.of(left) is None:
        return "the activations have no single constant scale and zero point of their type"
    is_constant = constant(weights.inputs[0]) is not None
    if node.op_type == "Conv" and not is_constant:
        return "weights are not constant"
    axis = 0 if node.op_type == "Conv" or attribute(node, "transB", 0) else 1
    if is_constant and not scales_along(weights, axis):
        return f"the scales of the weights are not constants, one in all or one along axis {axis}"
    if node.op_type == "Conv":
        return _result_reason(node)
    return "it scales or transposes operands, or its operands are no matrices"


def _other_reason(node: ir.Node) -> str:
    if node.op_type == "BatchNormalization":
        return "it has no integer form: fold it into the convolution before quantizing"
    readers = [reader.op_type for reader, _ in behind_limits(node.outputs[0]).uses()]
    if lookup(node).elementwise and readers and set(readers) == {"QuantizeLinear"}:
        return "none needed: floats in registers, from integers to integers"
    return f"DequantizeLinear is read by {node.op_type}, which has no integer form here"


def _operand_reason(node: ir.Node, index: int, what: str) -> str:
    value = node.inputs[index]
    maker = _dequantizer(value)
    if maker is None:
        name = "" if value is None else value.name
        return f"{what} {name!r} are not quantized"
    x = maker.inputs[0]
    if attribute(maker, "block_size", 0):
        return f"{what} {value.name!r} have scales by blocks"  # type: ignore[union-attr]
    if x is None or x.dtype is None:
        return f"{what} are of a type that is not known"
    if x.dtype not in BYTES:
        return f"{what} {x.name!r} are {x.dtype.name.lower()}, not int8 or uint8"
    scale = maker.inputs[1]
    if scale is not None and scale.dtype != ir.DataType.FLOAT:
        return f"the scale of {what} {x.name!r} is not float32"
    return ""


def _result_reason(node: ir.Node) -> str:
    result, filters = behind_limits(node.outputs[0]), static_shape(node.inputs[1])  # type: ignore[arg-type]
    readers = [reader for reader, _ in result.uses()]
    is_depthwise = filters is not None and filters[1] == 1
    if is_depthwise and [reader.op_type for reader in readers] != ["QuantizeLinear"]:
        names = ", ".join(sorted({reader.op_type for reader in readers})) or "the caller"
        return f"its result {result.name!r} is read by {names}: QuantizeLinear alone should"
    if is_depthwise and Grid.of(readers[0]) is None:
        return f"its result {result.name!r} is not quantized to 8 bits with one constant scale"
    return "float32 is faster here by the measured rates, or its bias is not known or too large"
