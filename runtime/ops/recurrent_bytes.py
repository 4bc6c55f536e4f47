"""Recurrent layers on weights of 8 bits: what they want, and their products with the inputs.

Operands become bytes in each run: the inputs of all steps with one scale, the hidden state of each
sequence at each step with one of its own (``kernels.cpu.recurrent_products``). onnxruntime has one
scale there for all sequences of a thread, so that results depend on how many it has; they are
these where each sequence has a thread.
"""

from __future__ import annotations

import numpy as np

from ...errors import UnsupportedModel
from ..emission import Emission
from ..graph import Node, refuse
from ..tensors import Tensor
from . import quads
from .epilogue import Epilogue
from .integer_products import row_pairs
from .matmul import emit_product
from .quantization import emit_dynamic
from .recurrent_layer import (
    BYTE_INPUTS,
    INITIAL_C,
    INITIAL_H,
    LENGTHS,
    PEEPHOLES,
    B,
    Layer,
    X,
)
from .recurrent_weights import Weights, by_vectors, reshaped

_TYPES = {
    **dict.fromkeys((X, B, INITIAL_H, INITIAL_C, PEEPHOLES), ("float32",)),
    LENGTHS: ("int32",),
    **{index: ("int8", "uint8") for weights, _, zero in BYTE_INPUTS for index in (weights, zero)},
    **{scale: ("float32",) for _, scale, _ in BYTE_INPUTS},
}


def check_bytes(node: Node) -> None:
    """Refuse operands of other types, and weights that are not constants."""
    for index, wanted in _TYPES.items():
        info = node.input(index)
        if info is not None and info.dtype not in wanted:
            refuse(node, f"type of {info.name!r}", info.dtype, " or ".join(wanted))
    for index in (each for inputs in BYTE_INPUTS for each in inputs):
        info = node.input(index)
        if info is None or not info.is_constant:
            name = f"input {index}" if info is None else repr(info.name)
            raise UnsupportedModel(
                f"node {node.name!r} ({node.op_type}): {name} has to be a constant"
            )
    for weights, _, zero in BYTE_INPUTS:
        if node.required(weights).dtype != node.required(zero).dtype:
            info = node.required(zero)
            refuse(node, f"type of {info.name!r}", info.dtype, node.required(weights).dtype)


def state_bytes(layer: Layer) -> int:
    """Bytes of a sequence's state as products take it, with its scale and zero point."""
    itemsize = {"u8": 1, "i16": 2}.get(layer.product, 0)
    return itemsize and layer.units * itemsize + 8


def emit_byte_products(
    emit: Emission, node: Node, layer: Layer, x: Tensor, lengths: Tensor | None, words: Weights,
    target: Tensor, bias: Weights | None,
) -> None:  # fmt: skip
    """Emit the products of inputs (steps, batch, features) with words (depth, columns).

    They become float32 while rows of whole sums are in cache, and where these lie.
    """
    form = layer.w_bytes
    assert form is not None
    x, columns = emit.ordered(x), target.shape[-1]
    assert isinstance(columns, int)
    rows = emit.new(x.shape, "uint8", name=f"{node.name}.bytes")
    scale, zero = emit.new((), "float32"), emit.new((), "uint8")
    emit_dynamic(emit, x, (rows, scale, zero), lengths=lengths)

    def by_column(array: np.ndarray) -> np.ndarray:
        row = reshaped(by_vectors(emit, array, layer.lanes), (columns,))
        assert isinstance(row, np.ndarray)
        return row

    correction = None
    if form.kind == "u8":
        sums = by_column(form.sums)
        correction, _ = quads.emit_zero_terms(emit, node.name, sums, False, False, zero)
    operand = quads.row_quads(emit, rows) if form.kind == "u8" else row_pairs(emit, rows, zero)
    text, others = "mul(to_f32(x0),mul(x1,x2))", [scale, emit.constant(by_column(form.scales))]
    if bias is not None:
        text = f"add({text},x3)"
        others.append(emit.constant(bias) if isinstance(bias, np.ndarray) else bias)
    whole = Tensor(target.buffer, target.offset, "int32", target.shape, target.strides)
    epilogue = Epilogue(result=target, expression=text, others=others)
    emit_product(emit, node, operand, words, whole, correction, form.kind, epilogue)
