"""LSTM, GRU and RNN on a GPU: one product with the inputs of all steps, then the steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ....kernels.cuda.recurrent_layer import recurrent_layer
from ...emission import Emission
from ...graph import Node
from ...ops.pointwise import emit_expression
from ...ops.quantization import emit_dynamic
from ...ops.recurrent import initial_state, lengths_of, outputs_of, result_fields, state_fields
from ...ops.recurrent_layer import (
    BYTE_INPUTS,
    INITIAL_C,
    INITIAL_H,
    LENGTHS,
    Layer,
    X,
    has_bytes,
    read_layer,
)
from ...ops.recurrent_weights import Weights, ints_of, reshaped, some, summed
from ...tensors import Indexed, Tensor
from .product import emit_product


def lower_recurrent(emit: Emission, node: Node) -> None:
    """Emit the steps of a layer, of directions with the same activations together."""
    layer = read_layer(emit, node)
    if layer.w_bytes is not None:
        layer = _dequantized(node, layer)
    inputs = _products(emit, node, layer)
    outputs = outputs_of(emit, node, layer)
    for begin, end in layer.ranges:
        _emit_directions(emit, node, layer, inputs, outputs, begin, end)


def _products(emit: Emission, node: Node, layer: Layer) -> Tensor:
    """Emit the products with the inputs and their biases: (.., .., directions * gates * size)."""
    x, depth = emit.tensor(node.values[X]), ints_of(layer.w.shape)[-1]
    if has_bytes(node):
        x = _rounded(emit, node, layer, x)
    columns = layer.directions * layer.gates * layer.size
    weights = _tensor(emit, reshaped(layer.w, (columns, depth)))
    bias: Weights | None = None
    if layer.bias is not None and layer.recurrent_bias is not None:
        # The recurrent bias of a linear GRU's last gate is scaled with its product.
        gates = layer.gates - (layer.cell == "gru_linear")
        bias = reshaped(summed(emit, layer.bias, layer.recurrent_bias, gates), (columns,))
    y = emit.new((*x.shape[:2], columns), x.dtype, name=f"{node.name}.inputs")
    right = weights.view((depth, columns), weights.strides[::-1])
    emit_product(emit, x, right, y, None if bias is None else _tensor(emit, bias))
    return y


def _dequantized(node: Node, layer: Layer) -> Layer:
    """Return the layer whose weights are the floats that bytes stand for."""
    w, r = (_floats(node, layer, *inputs) for inputs in BYTE_INPUTS)
    return replace(layer, w=w, r=r, w_bytes=None, r_bytes=None)


def _floats(node: Node, layer: Layer, weights: int, scale: int, zero: int) -> np.ndarray:
    """Return (directions, gates, size, depth) of bytes (directions, depth, gates * size)."""
    array, scales, zeros = (node.required(index).array() for index in (weights, scale, zero))
    directions, depth, _ = array.shape
    by_column = (directions, 1, -1)
    whole = array.astype(np.float32) - zeros.astype(np.float32).reshape(by_column)
    floats = (whole * scales.reshape(by_column)).reshape(directions, depth, layer.gates, layer.size)
    return np.ascontiguousarray(floats.transpose(0, 2, 3, 1))


def _rounded(emit: Emission, node: Node, layer: Layer, x: Tensor) -> Tensor:
    """Emit the inputs of all steps as the bytes of one scale stand for them."""
    x = emit.ordered(x)
    rows = emit.new(x.shape, "uint8", name=f"{node.name}.bytes")
    scale, zero = emit.new((), "float32"), emit.new((), "uint8")
    lengths = None
    if not layer.is_batch_first:
        lengths = lengths_of(emit, node, x.shape[1])
    emit_dynamic(emit, x, (rows, scale, zero), lengths=lengths)
    floats = emit.new(x.shape, "float32", name=f"{node.name}.rounded")
    emit_expression(emit, "mul(to_f32(sub(to_i32(x0),to_i32(x1))),x2)", floats, [rows, zero, scale])
    return floats


def _tensor(emit: Emission, weights: Weights) -> Tensor:
    if isinstance(weights, np.ndarray):
        return emit.constant(np.ascontiguousarray(weights))
    return emit.ordered(weights)


def _emit_directions(
    emit: Emission, node: Node, layer: Layer, inputs: Tensor, outputs: list[Tensor | None],
    begin: int, end: int,
) -> None:  # fmt: skip
    """Emit the steps of directions ``begin`` to ``end``, whose activations are the same."""
    steps_axis, batch_axis = (1, 0) if layer.is_batch_first else (0, 1)
    batch, steps = inputs.shape[batch_axis], inputs.shape[steps_axis]
    directions, width = end - begin, layer.gates * layer.size
    own = inputs.view((*inputs.shape[:2], directions * width), inputs.strides, begin * width)
    lengths = lengths_of(emit, node, batch)
    initial = [initial_state(emit, node, layer, i, begin, end) for i in (INITIAL_H, INITIAL_C)]
    results = result_fields(layer, outputs, begin, end)
    state = (directions, batch, layer.size)

    def memory(what: str, count: int = 1) -> Tensor:
        return emit.new((count, *state), inputs.dtype, name=f"{node.name}.{what}")

    emit.step(
        recurrent_layer(
            layer.cell, layer.names_of(begin), layer.options, int(layer.clip is not None),
            layer.kind, int(has_bytes(node)),
        ),
        outputs=[results[name] for name in ("y", "last_h", "last_c") if results[name] is not None],
        indexed=None if lengths is None else Indexed(node.required(LENGTHS).name, (steps + 1,)),
        flops=2 * steps * batch * directions * width * layer.size,
        steps=steps, batch=batch, directions=directions, size=layer.size,
        backwards=layer.backwards >> begin, lengths=lengths, inputs=own,
        input_step=own.strides[steps_axis], input_batch=own.strides[batch_axis],
        hidden=memory("hidden", 2),
        cells=memory("cells") if layer.cell in ("lstm", "gru") else None,
        resets=memory("resets") if layer.cell == "gru" else None,
        **_weights(emit, layer, begin, end), **results, **layer.numbers_of(begin),
        **state_fields("initial", initial, layer.is_batch_first),
    )  # fmt: skip


def _weights(emit: Emission, layer: Layer, begin: int, end: int) -> dict[str, Any]:
    """Fields of the weights of some directions, which thread by thread lie side by side."""
    r, order = some(layer.r, 0, begin, end), (0, 3, 1, 2)
    if isinstance(r, np.ndarray):
        turned: Weights = r.transpose(order)
    else:
        turned = r.view([r.shape[i] for i in order], [r.strides[i] for i in order])
    fields: dict[str, Any] = {"weights": _tensor(emit, turned), "bias": None, "peepholes": None}
    if layer.cell == "gru_linear" and layer.recurrent_bias is not None:
        last = some(some(layer.recurrent_bias, 1, 2, 3), 0, begin, end)
        fields["bias"] = _tensor(emit, last)
    if layer.peepholes is not None:
        fields["peepholes"] = _tensor(emit, some(layer.peepholes, 0, begin, end))
    return fields
