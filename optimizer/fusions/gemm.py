"""Gemm: of MatMul and Add, with Transposes in its attributes, before BatchNormalization."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, apply_rules, fixed, op, rewrite
from ..values import attribute, constant, static_shape


def _is_matrix(value: ir.Value) -> bool:
    return value.shape is not None and len(value.shape) == 2


def _require_matrices(m: Match) -> None:
    m.require(m.opset >= 7, "Gemm broadcasts since opset 7")
    m.require(_is_matrix(m.a) and _is_matrix(m.b), "the operands are not both matrices")
    m.require(constant(m.b) is not None, "the second operand is not constant")
    m.require(m.a.dtype in (ir.DataType.FLOAT, ir.DataType.DOUBLE), "it is not of floats")


@rewrite(lambda a, b, c: op.MatMul(a, b) + c)
def _matmul_add(m: Match) -> ir.Value:
    _require_matrices(m)
    shape = static_shape(m.c)
    columns = m.constant("b").shape[1]
    fits = shape in ((1,), (columns,), (1, 1), (1, columns))
    m.require(fits, "the addend is not one value per column")
    return m.op.Gemm(m.a, m.b, m.c)


@rewrite(
    lambda a, b, scale, bias, mean, variance: op.BatchNormalization(
        op.MatMul(a, b), scale, bias, mean, variance
    )
)
def _matmul_batch_normalization(m: Match) -> ir.Value:
    _require_matrices(m)
    product = m.op.Gemm(m.a, m.b)
    product.shape = m.root.inputs[0].shape  # type: ignore[union-attr]
    attributes = dict(m.root.attributes)
    return m.op.BatchNormalization(product, m.scale, m.bias, m.mean, m.variance, **attributes)


def _swaps(value: ir.Value) -> bool:
    node = value.producer()
    assert node is not None
    return "perm" not in node.attributes or list(node.attributes["perm"].as_ints()) == [1, 0]


def _gemm(m: Match, first: str, second: str) -> ir.Value:
    m.require(_swaps(m.swapped), "it does not swap the two axes")
    m.require(_is_matrix(m.swapped), "it is not a matrix")
    attributes = dict(m.root.attributes)
    key = "transA" if first == "at" else "transB"
    attributes[key] = ir.AttrInt64(key, 1 - attribute(m.root, key, 0))
    operands = [m.at if first == "at" else m.a, m.bt if second == "bt" else m.b]
    return m.op.Gemm(*operands, *m.root.inputs[2:], **attributes)


@rewrite(lambda at, b: op.Gemm(op.Transpose(at).named("swapped"), b, ...))
def _transpose_gemm(m: Match) -> ir.Value:
    return _gemm(m, "at", "b")


@rewrite(lambda a, bt: op.Gemm(a, op.Transpose(bt).named("swapped"), ...))
def _gemm_transpose(m: Match) -> ir.Value:
    return _gemm(m, "a", "bt")


@rewrite(
    lambda x, w, c: op.Gemm(x, fixed(w)) * fixed(c),
    lambda x, w, c: op.Gemm(x, fixed(w)) / fixed(c),
)
def _gemm_scale(m: Match) -> ir.Value:
    factor = m.constant("c")
    weights = m.constant("w")
    single = factor.size == 1 and factor.ndim <= 2 and factor.dtype == np.float32
    m.require(single, "the factor is no float32 number")
    m.require(weights.dtype == np.float32, "the weights are not float32")
    gemm = m.root.inputs[0] if m.root.inputs[0] is not m.c else m.root.inputs[1]
    node = gemm.producer()  # type: ignore[union-attr]
    assert node is not None
    number = factor.reshape(())[()]
    with np.errstate(all="ignore"):
        scaled = weights * number if m.root.op_type == "Mul" else weights / number
    m.require(bool(np.isfinite(scaled).all()), "the scaled weights are not finite")
    return m.op.Gemm(m.x, scaled, **dict(node.attributes))


fuse_gemm = apply_rules(
    [_matmul_add, _matmul_batch_normalization, _transpose_gemm, _gemm_transpose, _gemm_scale]
)
