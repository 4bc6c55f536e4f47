"""Operators of com.microsoft, which exporters and onnxruntime write, in standard ones.

An adapter edits a node and puts others before it. What it cannot express stays as it is, and is
refused by name when a model is lowered. The definitions are those of onnxruntime's documentation
(docs/ContribOperators.md).
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from ...errors import InvalidModel
from . import contrib_attention as contrib_attention
from . import contrib_blocks as contrib_blocks
from . import contrib_groups as contrib_groups
from .contrib_rewrite import (
    ADAPTERS,
    adapts,
    become,
    give,
    moved,
    need_unread,
    needed,
    optional,
    summed,
)
from .node_rewrite import NodeRewrite, NotExpressible, names_taken

DOMAIN = "com.microsoft"
_LEAST_OPSET = 23
"""RMSNormalization is since then in the standard domain."""

_MISPLACED = {"SimplifiedLayerNormalization": 1 << 31, "LayerNormalization": 17}
"""What onnxruntime writes in the standard domain, and the opset in which it is there."""


def mark_contrib_nodes(proto: onnx.ModelProto) -> None:
    """Name the domain of nodes that onnxruntime's optimizer leaves in the standard one."""
    opset = next((entry.version for entry in proto.opset_import if entry.domain == ""), 0)
    graphs, marked = [proto.graph], False
    while graphs:
        for node in graphs.pop().node:
            if node.domain == "" and opset < _MISPLACED.get(node.op_type, 0):
                node.domain, marked = DOMAIN, True
            graphs += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    if marked and all(entry.domain != DOMAIN for entry in proto.opset_import):
        proto.opset_import.add(domain=DOMAIN, version=1)


def has_adapter(op_type: str) -> bool:
    """Tell whether an operator of com.microsoft is replaced by standard ones."""
    return op_type in ADAPTERS


def standardize(model: ir.Model) -> None:
    """Replace operators of com.microsoft by standard ones where that can be, in place."""
    opset = model.graph.opset_imports.get("", 0)
    if DOMAIN not in model.graph.opset_imports or opset < _LEAST_OPSET:
        return
    taken = names_taken([model.graph])
    for node in list(model.graph.all_nodes()):
        adapt = ADAPTERS.get(node.op_type)
        if node.domain != DOMAIN or adapt is None:
            continue
        rewrite = NodeRewrite(node, opset, taken)
        try:
            adapt(rewrite)
        except NotExpressible:
            rewrite.discard()
            continue
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise InvalidModel(
                f"node {node.name!r} ({DOMAIN}.{node.op_type}): its attributes and constants do "
                f"not fit one another: {error}"
            ) from error
        rewrite.finish()
        node.domain = ""


# --- activations and sums ---------------------------------------------------------------------


@adapts("Gelu")
def _gelu(r: NodeRewrite) -> None:
    become(r, "Gelu", needed(r, 0))


@adapts("BiasGelu")
def _bias_gelu(r: NodeRewrite) -> None:
    become(r, "Gelu", summed(r, needed(r, 0), needed(r, 1)))


@adapts("FastGelu")
def _fast_gelu(r: NodeRewrite) -> None:
    become(r, "Gelu", summed(r, needed(r, 0), optional(r, 1)))
    r.put(approximate="tanh")


@adapts("BiasAdd")
def _bias_add(r: NodeRewrite) -> None:
    become(r, "Add", summed(r, needed(r, 0), needed(r, 1)), needed(r, 2))


def _with_activation(r: NodeRewrite, value: ir.Value, name: str, numbers: list[float]) -> None:
    """Let the node be an activation of a value."""
    if name == "Clip":
        limits = [r.constant(number, r.dtype(0)) for number in numbers]
        become(r, "Clip", value, *limits)
        return
    attributes = {"LeakyRelu": ["alpha"], "HardSigmoid": ["alpha", "beta"]}.get(name, [])
    if name not in ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid"):
        raise NotExpressible(f"its activation is {name!r}")
    become(r, name, value)
    r.attributes.clear()
    r.put(**dict(zip(attributes, numbers, strict=False)))


@adapts("FusedConv")
def _fused_conv(r: NodeRewrite) -> None:
    name, numbers = r.take("activation", ""), list(r.take("activation_params", ()))
    inputs = [needed(r, 0), needed(r, 1), optional(r, 2)]
    value = summed(r, moved(r, "Conv", *inputs), optional(r, 3))
    if name:
        _with_activation(r, value, name, numbers)
    else:
        become(r, "Identity", value)


@adapts("FusedGemm")
def _fused_gemm(r: NodeRewrite) -> None:
    name = r.take("activation", "")
    numbers = [r.take(f"activation_{kind}") for kind in ("alpha", "beta", "gamma")]
    inputs = [needed(r, 0), needed(r, 1), optional(r, 2)]
    value = moved(r, "Gemm", *inputs)
    _with_activation(r, value, name, [number for number in numbers if number is not None])


# --- normalization ----------------------------------------------------------------------------


@adapts("SkipLayerNormalization")
def _skip_layer_normalization(r: NodeRewrite) -> None:
    total = summed(r, needed(r, 0), needed(r, 1), optional(r, 4))
    give(r, 3, total)
    r.outputs = min(r.outputs, 3)
    become(r, "LayerNormalization", total, needed(r, 2), optional(r, 3))
    r.put(axis=-1, epsilon=r.take("epsilon", 1e-12))


@adapts("SkipSimplifiedLayerNormalization")
def _skip_rms_normalization(r: NodeRewrite) -> None:
    need_unread(r, 1, 2)
    total = summed(r, needed(r, 0), needed(r, 1), optional(r, 3))
    give(r, 3, total)
    r.drop_extra_outputs("RMSNormalization has one")
    become(r, "RMSNormalization", total, needed(r, 2))
    r.put(axis=-1, epsilon=r.take("epsilon", 1e-12))


@adapts("LayerNormalization", "SimplifiedLayerNormalization")
def _normalization(r: NodeRewrite) -> None:
    if r.node.op_type == "LayerNormalization":
        become(r, "LayerNormalization", *r.inputs)
        return
    r.drop_extra_outputs("RMSNormalization has one")
    become(r, "RMSNormalization", needed(r, 0), needed(r, 1))


@adapts("EmbedLayerNormalization")
def _embed_layer_normalization(r: NodeRewrite) -> None:
    need_unread(r, 1)
    needed(r, 5), needed(r, 6)
    ids, segments = needed(r, 0), optional(r, 1)
    parts = [r.emit("Gather", needed(r, 2), ids)]
    if optional(r, 8) is not None:
        parts.append(r.emit("Gather", needed(r, 3), needed(r, 8)))
    else:
        length = r.emit("Shape", ids, start=1, end=2)
        zero = r.constant([0])
        parts.append(r.emit("Slice", needed(r, 3), zero, length, zero))
    if segments is not None and optional(r, 4) is not None:
        parts.append(r.emit("Gather", needed(r, 4), segments))
    total = summed(r, *parts)
    give(r, 2, total)
    r.drop_extra_outputs("LayerNormalization has others")
    r.take("mask_index_type")
    become(r, "LayerNormalization", total, needed(r, 5), needed(r, 6))
    r.put(axis=-1, epsilon=r.take("epsilon", 1e-12))


# --- products ---------------------------------------------------------------------------------


@adapts("FusedMatMul")
def _fused_matmul(r: NodeRewrite) -> None:
    if r.take("transBatchA", 0) or r.take("transBatchB", 0):
        raise NotExpressible("it transposes a batch")
    turned = [r.take(name, 0) for name in ("transA", "transB")]
    alpha = r.constant(r.take("alpha", 1.0), np.float32)
    a, b = needed(r, 0), needed(r, 1)
    if any(turned):  # ranks may follow only from what other adapters made
        equation = f"...{'ki' if turned[0] else 'ik'},...{'jk' if turned[1] else 'kj'}->...ij"
        product = r.emit("Einsum", a, b, equation=equation)
    else:
        product = r.emit("MatMul", a, b)
    become(r, "Mul", product, r.emit("CastLike", alpha, product))


@adapts("DynamicQuantizeMatMul")
def _dynamic_quantize_matmul(r: NodeRewrite) -> None:
    a = r.emit("DynamicQuantizeLinear", needed(r, 0))
    producer = a.producer()
    assert producer is not None
    producer.resize_outputs(3)
    for value, name in zip(producer.outputs[1:], ("scale", "zero"), strict=True):
        value.name = f"{a.name}_{name}"
    scale, zero = producer.outputs[1:]
    _scaled_product(r, a, needed(r, 1), zero, optional(r, 3), scale, needed(r, 2), optional(r, 4))


@adapts("MatMulIntegerToFloat")
def _matmul_integer_to_float(r: NodeRewrite) -> None:
    a, b, a_scale, b_scale = (needed(r, i) for i in range(4))
    _scaled_product(r, a, b, optional(r, 4), optional(r, 5), a_scale, b_scale, optional(r, 6))


def _scaled_product(
    r: NodeRewrite, a: ir.Value, b: ir.Value, a_zero: ir.Value | None, b_zero: ir.Value | None,
    a_scale: ir.Value, b_scale: ir.Value, bias: ir.Value | None,
) -> None:  # fmt: skip
    product = r.emit("MatMulInteger", a, b, a_zero, b_zero)
    wide = r.emit("Cast", product, to=int(ir.DataType.FLOAT))
    scale = r.emit("Mul", a_scale, b_scale)
    if bias is None:
        become(r, "Mul", wide, scale)
    else:
        become(r, "Add", r.emit("Mul", wide, scale), bias)


@adapts("DynamicQuantizeLSTM")
def _dynamic_quantize_lstm(r: NodeRewrite) -> None:
    """Weights are dequantized, and inputs stay as they are: what quantizing them loses is kept."""
    w, rec = (_dequantized(r, weight, scale) for weight, scale in ((1, 8), (2, 10)))
    constants = [r.constant(array, np.float32) for array in (w, rec)]
    others = [optional(r, i) for i in range(3, 8)]
    while others and others[-1] is None:
        others.pop()
    become(r, "LSTM", needed(r, 0), *constants, *others)


def _dequantized(r: NodeRewrite, index: int, scale_index: int) -> np.ndarray:
    """Weights (directions, inputs, gates) of bytes as (directions, gates, inputs) of float32."""
    weights, scales = r.constant_input(index), r.constant_input(scale_index)
    zeros = r.constant_input(scale_index + 1)
    shape = (len(weights), 1, -1)
    numbers = weights.astype(np.float32) - zeros.reshape(shape).astype(np.float32)
    return np.ascontiguousarray((numbers * scales.reshape(shape)).transpose(0, 2, 1))


# --- quantized elementwise --------------------------------------------------------------------


def _read(r: NodeRewrite, first: int) -> ir.Value:
    return r.emit("DequantizeLinear", *(optional(r, first + i) for i in range(3)))


def _quantize(r: NodeRewrite, value: ir.Value, scale: int) -> None:
    r.attributes.clear()
    zero = optional(r, scale + 1)
    if zero is None:
        raise NotExpressible("its result has no zero point")
    become(r, "QuantizeLinear", value, needed(r, scale), zero)


@adapts("QLinearAdd", "QLinearMul")
def _quantized_arithmetic(r: NodeRewrite) -> None:
    _quantize(r, r.emit(r.node.op_type[len("QLinear") :], _read(r, 0), _read(r, 3)), 6)


@adapts("QLinearSigmoid", "QLinearLeakyRelu")
def _quantized_activation(r: NodeRewrite) -> None:
    _quantize(r, moved(r, r.node.op_type[len("QLinear") :], _read(r, 0)), 3)


@adapts("QLinearGlobalAveragePool")
def _quantized_pool(r: NodeRewrite) -> None:
    if r.take("channels_last", 0):
        raise NotExpressible("its channels are last")
    _quantize(r, r.emit("GlobalAveragePool", _read(r, 0)), 3)


@adapts("QLinearConcat")
def _quantized_concat(r: NodeRewrite) -> None:
    scale, zero = needed(r, 0), needed(r, 1)
    parts = [_read(r, first) for first in range(2, len(r.inputs), 3)]
    joined = moved(r, "Concat", *parts)
    become(r, "QuantizeLinear", joined, scale, zero)
