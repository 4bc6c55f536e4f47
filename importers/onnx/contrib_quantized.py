"""Operators of com.microsoft on integers of 8 bits.

Products stay products of integers. Others are standard operators between DequantizeLinear and
QuantizeLinear, which is how onnxruntime defines them.
"""

from __future__ import annotations

import onnx_ir as ir

from ...errors import InvalidModel
from .contrib_attention import attend
from .contrib_rewrite import (
    adapts,
    become,
    channels_first,
    channels_last,
    like,
    moved,
    needed,
    optional,
    summed,
)
from .node_rewrite import NodeRewrite, NotExpressible

_FLOAT = int(ir.DataType.FLOAT)


# --- products ---------------------------------------------------------------------------------


@adapts("DynamicQuantizeMatMul")
def _dynamic_quantize_matmul(r: NodeRewrite) -> None:
    a = r.emit("DynamicQuantizeLinear", needed(r, 0))
    producer = a.producer()
    assert producer is not None
    producer.resize_outputs(3)
    for value, name in zip(producer.outputs[1:], ("scale", "zero"), strict=True):
        value.name = f"{a.name}_{name}"
    scale, zero = producer.outputs[1:]
    sums = r.emit("MatMulInteger", a, needed(r, 1), zero, optional(r, 3))
    become(r, "Identity", summed(r, _scaled(r, sums, scale, needed(r, 2)), optional(r, 4)))


@adapts("MatMulIntegerToFloat")
def _matmul_integer_to_float(r: NodeRewrite) -> None:
    sums = r.emit("MatMulInteger", needed(r, 0), needed(r, 1), optional(r, 4), optional(r, 5))
    product = _scaled(r, sums, needed(r, 2), needed(r, 3))
    become(r, "Identity", summed(r, product, optional(r, 6)))


@adapts("QGemm")
def _quantized_gemm(r: NodeRewrite) -> None:
    """A result without a scale is of float32."""
    alpha = r.take("alpha", 1.0)
    a, b = (
        r.emit("Transpose", x, perm=[1, 0]) if r.take(f"trans{name}", 0) else x
        for x, name in ((needed(r, 0), "A"), (needed(r, 3), "B"))
    )
    sums = r.emit("MatMulInteger", a, b, optional(r, 2), optional(r, 5))
    product = _scaled(r, summed(r, sums, optional(r, 6)), needed(r, 1), needed(r, 4))
    if alpha != 1.0:
        product = r.emit("Mul", product, like(r, alpha, product))
    if optional(r, 7) is None:
        become(r, "Identity", product)
    else:
        _quantize(r, product, 7, a)


def _scaled(r: NodeRewrite, sums: ir.Value, left: ir.Value, right: ir.Value) -> ir.Value:
    """Sums of products in the scales of their operands."""
    scale = r.emit("Mul", left, right)
    return r.emit("Mul", r.emit("CastLike", sums, scale), scale)


@adapts("QAttention")
def _quantized_attention(r: NodeRewrite) -> None:
    """Projections are products of integers; the rest is that of Attention."""
    if r.take("past_present_share_buffer", 0) or r.take("do_rotary", 0):
        raise NotExpressible("it writes to its cache, or turns queries and keys")
    x = needed(r, 0)
    sums = r.emit("MatMulInteger", x, needed(r, 1), optional(r, 6), optional(r, 7))
    product = summed(r, _scaled(r, sums, needed(r, 3), needed(r, 4)), optional(r, 2))
    attend(r, product, None, optional(r, 5), optional(r, 8), None)


# --- between DequantizeLinear and QuantizeLinear ------------------------------------------------


def _read(r: NodeRewrite, first: int) -> ir.Value:
    """Operand of float32: an input, its scale, one number, and its zero point."""
    needed(r, first)
    scale = needed(r, first + 1)
    if scale.shape is not None and any(size != 1 for size in scale.shape):
        raise InvalidModel(
            f"node {r.node.name!r} ({r.node.domain}.{r.node.op_type}): scale {scale.name!r} has "
            f"the shape {list(scale.shape)}, expected one number"
        )
    return r.emit("DequantizeLinear", *(optional(r, first + i) for i in range(3)))


def _quantize(r: NodeRewrite, value: ir.Value, scale: int, of_type: ir.Value) -> None:
    """Let the node be a value in a scale; without a zero point it has the type of another."""
    zero = optional(r, scale + 1)
    if zero is None:
        zero = r.emit("CastLike", r.constant(0), of_type)
    r.attributes.clear()
    become(r, "QuantizeLinear", value, needed(r, scale), zero)


@adapts("QLinearAdd", "QLinearMul")
def _quantized_arithmetic(r: NodeRewrite) -> None:
    op_type = r.node.op_type.removeprefix("QLinear")
    _quantize(r, r.emit(op_type, _read(r, 0), _read(r, 3)), 6, needed(r, 0))


@adapts("QLinearSigmoid", "QLinearLeakyRelu", "QLinearReduceMean")
def _quantized_function(r: NodeRewrite) -> None:
    op_type = r.node.op_type.removeprefix("QLinear")
    operands = [_read(r, 0)]
    if axes := r.take("axes"):
        operands.append(r.constant(list(axes)))
    _quantize(r, moved(r, op_type, *operands), 3, needed(r, 0))


@adapts("QLinearSoftmax")
def _quantized_softmax(r: NodeRewrite) -> None:
    """Before opset 13 it is over all axes from one on."""
    axis, opset = r.take("axis", -1), r.take("opset")
    x = _read(r, 0)
    if opset >= 13 or axis == -1 or axis == r.rank(0) - 1:
        y = r.emit("Softmax", x, axis=axis)
    else:
        flat = r.emit("Softmax", r.emit("Flatten", x, axis=axis), axis=-1)
        y = r.emit("Reshape", flat, r.emit("Shape", x), allowzero=1)
    _quantize(r, y, 3, needed(r, 0))


@adapts("QLinearWhere")
def _quantized_choice(r: NodeRewrite) -> None:
    _quantize(r, r.emit("Where", needed(r, 0), _read(r, 1), _read(r, 4)), 7, needed(r, 1))


@adapts("QLinearConcat")
def _quantized_concat(r: NodeRewrite) -> None:
    parts = [_read(r, first) for first in range(2, len(r.inputs), 3)]
    _quantize(r, moved(r, "Concat", *parts), 0, needed(r, 2))


# --- images -----------------------------------------------------------------------------------


@adapts("QLinearAveragePool", "QLinearGlobalAveragePool")
def _quantized_pool(r: NodeRewrite) -> None:
    op_type, is_last = r.node.op_type.removeprefix("QLinear"), r.take("channels_last", 0)
    x = _read(r, 0)
    if is_last:
        kernel = r.attributes.get("kernel_shape")
        rank = r.rank(0) if kernel is None else len(kernel.as_ints()) + 2
        y = moved(r, op_type, channels_first(r, x, rank))
        x = channels_last(r, y, rank)
    else:
        x = moved(r, op_type, x)
    _quantize(r, x, 3, needed(r, 0))


@adapts("NhwcMaxPool")
def _pool_channels_last(r: NodeRewrite) -> None:
    rank = len(r.attributes["kernel_shape"].as_ints()) + 2
    y = moved(r, "MaxPool", channels_first(r, needed(r, 0), rank))
    become(r, "Identity", channels_last(r, y, rank))


@adapts("QLinearConv")
def _quantized_convolution(r: NodeRewrite) -> None:
    if not r.take("channels_last", 0):
        become(r, "QLinearConv", *r.inputs)
        return
    rank = r.rank(3)
    x, *others = r.inputs
    assert x is not None
    y = moved(r, "QLinearConv", channels_first(r, x, rank), *others)
    become(r, "Identity", channels_last(r, y, rank))
