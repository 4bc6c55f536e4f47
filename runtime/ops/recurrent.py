"""LSTM, GRU and RNN: one product with the inputs of all steps, then the steps; or all in steps.

com.microsoft's DynamicQuantizeLSTM is a LSTM whose products are those of bytes (`recurrent_bytes`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.amx import ROW_WORDS
from ...kernels.cpu.operands import max_rows
from ...kernels.cpu.recurrent import CHAIN_WORDS, recurrent, recurrent_begin
from ...kernels.cpu.recurrent_cells import PHASES
from ...kernels.cpu.recurrent_forms import fetching_pays
from ...kernels.cpu.recurrent_functions import ARITHMETIC
from ...kernels.target import L3_BYTES
from ..emission import Emission
from ..graph import Info, Node, OnHost, numbers_of
from ..symbolic import Dim
from ..tensors import Indexed, Record, Tensor
from . import checks
from .matmul import emit_product
from .recurrent_bytes import check_bytes, emit_byte_products, state_bytes
from .recurrent_layer import (
    INITIAL_C,
    INITIAL_H,
    LENGTHS,
    PEEPHOLES,
    B,
    Layer,
    R,
    W,
    X,
    check_functions,
    check_shapes,
    halved,
    has_bytes,
    in_terms,
    joined,
    read_layer,
)
from .recurrent_weights import Weights, by_vectors, ints_of, panels, reshaped, some, summed
from .registry import Operator, register
from .tiles import tile_table


def _infer(node: Node) -> list[Info]:
    x = node.required(X)
    floats = [node.input(i) for i in (X, W, R, B, INITIAL_H, INITIAL_C, PEEPHOLES)]
    if any(info is not None and info.dtype != x.dtype for info in floats):
        raise OnHost("operands of several element types")
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"{node.op_type} of {x.dtype}")
    weights = [info for i in (W, R, B, PEEPHOLES) if (info := node.input(i)) is not None]
    numbers_of([dim for info in weights for dim in info.dims], "sizes of weights are not known")
    if x.rank != 3:
        raise OnHost(f"an input of rank {x.rank}")
    return _infer_results(node)


def _infer_results(node: Node) -> list[Info]:
    """Describe the results of operands that have kernels."""
    x, r = node.required(X), node.required(R)
    directions, size = r.dims[0], min(ints_of(r.dims)[1:])
    if size == 0:
        raise OnHost("no hidden units")
    if has_bytes(node) and x.dims[2] == 0:
        raise OnHost("weights of 8 bits for no features")
    if node.attribute("layout", 0):
        batch, steps, _ = x.dims
        shapes = [(batch, steps, directions, size), *[(batch, directions, size)] * 2]
    else:
        steps, batch, _ = x.dims
        shapes = [(steps, directions, batch, size), *[(directions, batch, size)] * 2]
    return [node.result(shapes[i], index=i) for i in range(len(node.outputs))]


def _bias(emit: Emission, layer: Layer) -> Weights | None:
    """Sum the biases of both products: (directions * vectors * gates * lanes)."""
    if layer.bias is None or layer.recurrent_bias is None:
        return None
    # The recurrent bias of a linear GRU's last gate is scaled with its product.
    gates = layer.gates - (layer.cell == "gru_linear")
    total = by_vectors(emit, summed(emit, layer.bias, layer.recurrent_bias, gates), layer.lanes)
    return reshaped(total, (layer.directions * layer.gates * layer.units,))


def _biases(emit: Emission, layer: Layer, x: Tensor) -> Tensor:
    """Return the biases in the form of `_products`, the same ones for each step and sequence."""
    columns, bias = layer.directions * layer.gates * layer.units, _bias(emit, layer)
    if bias is None:
        bias = np.zeros(columns, x.dtype)
    tensor = emit.constant(bias) if isinstance(bias, np.ndarray) else bias
    return tensor.view((*x.shape[:2], columns), (0, 0, 1))


def _products(emit: Emission, node: Node, layer: Layer, x: Tensor) -> Tensor:
    """Emit the products with the inputs: (steps, batch, directions * vectors * gates * lanes)."""
    depth, columns = ints_of(layer.w.shape)[-1], layer.directions * layer.gates * layer.units
    weights = reshaped(by_vectors(emit, layer.w, layer.lanes), (columns, depth))
    if isinstance(weights, np.ndarray):
        weights = weights.T
    else:
        weights = weights.view((depth, columns), weights.strides[::-1])
    bias = _bias(emit, layer)
    target = emit.new((*x.shape[:2], columns), x.dtype, name=f"{node.name}.inputs")
    if layer.w_bytes is None:
        emit_product(emit, node, x, weights, target, bias)
    else:
        lengths = lengths_of(emit, node, x.shape[1])
        emit_byte_products(emit, node, layer, x, lengths, weights, target, bias)
    return target


# --- steps ------------------------------------------------------------------------------------


def _lower(emit: Emission, node: Node) -> None:
    layer = read_layer(emit, node)
    x = emit.tensor(node.values[X])
    steps, batch = (x.shape[i] for i in ((1, 0) if layer.is_batch_first else (0, 1)))
    layer = in_terms(emit, node, layer, steps, batch)
    if not layer.has_terms:
        layer = halved(joined(layer, steps, batch), batch)
    if layer.features or x.shape[2] == 0:
        x = emit.ordered(x)
        inputs = _biases(emit, layer, x)
    else:
        inputs = _products(emit, node, layer, x)
    outputs = outputs_of(emit, node, layer)
    for begin, end in layer.ranges:
        _emit_directions(emit, node, layer, x, inputs, outputs, begin, end)


def outputs_of(emit: Emission, node: Node, layer: Layer) -> list[Tensor | None]:
    """Results: all steps, those of a sequence's directions side by side, and the last states."""
    orders = (None if layer.is_batch_first else (0, 2, 1, 3), None, None)
    named = [i < len(node.outputs) and bool(node.outputs[i].name) for i in range(3)]
    return [
        emit.output(node, i, order) if given else None
        for i, (given, order) in enumerate(zip(named, orders, strict=True))
    ]


def _emit_directions(
    emit: Emission, node: Node, layer: Layer, x: Tensor, inputs: Tensor,
    outputs: list[Tensor | None], begin: int, end: int,
) -> None:  # fmt: skip
    """Emit the steps of directions ``begin`` to ``end``, whose activations are the same."""
    batch_first = layer.is_batch_first
    steps_axis, batch_axis = (1, 0) if batch_first else (0, 1)
    batch, steps = inputs.shape[batch_axis], inputs.shape[steps_axis]
    directions, width = end - begin, layer.gates * layer.units
    own = inputs.view((*inputs.shape[:2], directions * width), inputs.strides, begin * width)
    lengths = lengths_of(emit, node, batch)
    fields = {
        "steps": steps, "batch": batch, "directions": directions, "size": layer.size,
        "vectors": layer.vectors, "depth": layer.depth, "rows": layer.rows, "blocks": layer.blocks,
        "backwards": layer.backwards >> begin, "lengths": lengths,
        "inputs": own, "input_step": own.strides[steps_axis],
        "input_batch": own.strides[batch_axis],
        "x": x if layer.features else None, "features": layer.features,
        "x_step": x.strides[steps_axis], "x_batch": x.strides[batch_axis],
        **_weights(emit, layer, begin, end),
        **_memory(emit, node, layer, batch, directions),
        **result_fields(layer, outputs, begin, end),
    }  # fmt: skip
    written = [fields[name] for name in ("y", "last_h", "last_c", "hidden") if fields[name]]
    initial = [initial_state(emit, node, layer, i, begin, end) for i in (INITIAL_H, INITIAL_C)]
    # A product of zeros has no numbers if the weights are not finite.
    is_finite = isinstance(layer.r, np.ndarray) and bool(np.isfinite(layer.r).all())
    is_split = layer.has_terms and layer.features  # terms of inputs and states lie side by side
    fields["starts_at_zero"] = int(initial[0] is None and is_finite and not is_split)
    emit.step(
        recurrent_begin(layer.kind),
        outputs=written,
        indexed=None if lengths is None else Indexed(node.required(LENGTHS).name, (steps + 1,)),
        op_type=f"{node.op_type}Start",
        **fields,
        **state_fields("initial", initial, batch_first),
    )
    emit.step(
        recurrent(
            layer.cell,
            layer.names_of(begin),
            int(layer.clip is not None),
            layer.options,
            layer.kind,
            _weights_kind(layer),
        ),
        outputs=written,
        flops=2 * steps * batch * directions * layer.gates * layer.size * layer.size,
        **fields,
        **layer.numbers_of(begin),
    )


def _weights_kind(layer: Layer) -> str:
    """Return the kernel's name of what products take instead of states and weights."""
    if layer.r_bytes is not None:
        return layer.r_bytes.kind
    if layer.has_halves:
        return "halves"
    return "terms" if layer.has_terms else "joined" if layer.features else ""


def state_fields(name: str, states: list[Tensor | None], batch_first: bool) -> dict[str, Any]:
    """Fields of a hidden and a cell state, of the same shape."""
    first = states[0] or states[1]
    strides = (0, 0, 0) if first is None else first.strides
    return {
        f"{name}_h": states[0],
        f"{name}_c": states[1],
        f"{name}_batch": strides[0 if batch_first else 1],
        f"{name}_direction": strides[1 if batch_first else 0],
    }


def initial_state(
    emit: Emission, node: Node, layer: Layer, index: int, begin: int, end: int
) -> Tensor | None:
    """Return an initial state of some directions, None if it is zero; its axes are the node's."""
    info = node.input(index)
    if info is None:
        return None
    batch_axis, direction_axis = (0, 1) if layer.is_batch_first else (1, 0)
    batch = node.required(X).dims[batch_axis]
    message = f"sizes of the initial state {info.name!r}"
    emit.check(info.dims[batch_axis], batch, message)
    emit.check(info.dims[direction_axis], layer.directions, message)
    emit.check(info.dims[2], layer.size, message)
    if info.is_constant and not info.array().any():
        return None
    state = emit.ordered(emit.tensor(node.values[index]))
    return _directions_of(state, direction_axis, begin, end)


def _directions_of(tensor: Tensor, axis: int, begin: int, end: int) -> Tensor:
    shape = [*tensor.shape]
    shape[axis] = end - begin
    return tensor.view(shape, tensor.strides, begin * tensor.strides[axis])


def result_fields(
    layer: Layer, outputs: list[Tensor | None], begin: int, end: int
) -> dict[str, Any]:
    """Fields of the results of some directions."""
    batch_first = layer.is_batch_first
    axes = (2, 1, 1) if batch_first else (1, 0, 0)
    y, *last = (
        None if tensor is None else _directions_of(tensor, axis, begin, end)
        for tensor, axis in zip(outputs, axes, strict=True)
    )
    batch, steps, directions = (0, 1, 2) if batch_first else (2, 0, 1)
    strides = (0, 0, 0, 0) if y is None else y.strides
    return {
        "y": y,
        "y_step": strides[steps],
        "y_batch": strides[batch],
        "y_direction": strides[directions],
        **state_fields("last", last, batch_first),
    }


def _weights(emit: Emission, layer: Layer, begin: int, end: int) -> dict[str, Any]:
    """Fields of the packed weights of some directions, and of their tiles."""
    r = some(layer.r, 0, begin, end)
    gates, *later = PHASES[layer.cell]
    fields = dict.fromkeys(
        ("later_weights", "later_tiles", "bias", "peepholes", "scales", "weight_sums")
    )
    most = max_rows(gates, layer.product)
    fields |= {"later_mr": 0, "mr": most, "tiles": _tiles(gates, layer.product)}
    rows = ROW_WORDS if layer.has_terms else 1
    fields["weights"] = panels(emit, some(r, 1, 0, gates), layer.lanes, rows)
    weight_bytes = (end - begin) * layer.weight_bytes
    exceeds_cache = 2 * weight_bytes >= L3_BYTES
    fetches = layer.features or exceeds_cache or fetching_pays(weight_bytes)
    fields |= {"exceeds_cache": int(exceeds_cache), "fetches": int(bool(fetches))}
    if later:
        rest = some(r, 1, gates, layer.gates)
        fields["later_weights"] = panels(emit, rest, layer.lanes)
        most = max_rows(later[0], layer.kind)
        fields |= {"later_mr": most, "later_tiles": _tiles(later[0], layer.kind)}

    def vectors(weights: Weights) -> Tensor:
        own = by_vectors(emit, some(weights, 0, begin, end), layer.lanes)
        return emit.constant(own) if isinstance(own, np.ndarray) else own

    if layer.cell == "gru_linear" and layer.recurrent_bias is not None:
        fields["bias"] = vectors(some(layer.recurrent_bias, 1, 2, 3))
    if layer.peepholes is not None:
        fields["peepholes"] = vectors(layer.peepholes)
    if layer.r_bytes is not None:
        fields["scales"] = vectors(layer.r_bytes.scales)
        fields["weight_sums"] = vectors(layer.r_bytes.sums)
    return fields


def _tiles(nv: int, kind: str) -> Record:
    return tile_table(nv, set(range(1, max_rows(nv, kind) + 1)), kind)


def _memory(
    emit: Emission, node: Node, layer: Layer, batch: Dim, directions: int
) -> dict[str, Any]:
    """Fields of states, of the chains' progress, and of each thread's room for products."""
    own, itemsize = node.required(X).dtype, ARITHMETIC[layer.kind].itemsize

    def new(what: str, *shape: Dim, dtype: str = own) -> Tensor:
        return emit.new(shape, dtype, name=f"{node.name}.{what}")

    state = (directions, batch, layer.units)
    chains = directions * ((batch + layer.rows - 1) // layer.rows)
    vectors = -(-layer.vectors // layer.blocks)
    sums = layer.rows * vectors * max(PHASES[layer.cell]) * layer.lanes * itemsize
    size = sums + layer.rows * (state_bytes(layer) or layer.operand_bytes)
    return {
        "hidden": new("hidden", 2, *state),
        "cells": new("cells", *state) if layer.cell in ("lstm", "gru") else None,
        "resets": new("resets", *state) if layer.cell == "gru" else None,
        "progress": new("progress", chains * CHAIN_WORDS, dtype="int64"),
        "scratch": emit.workspace(size),
        "scratch_bytes": (size + 63) // 64 * 64,
        "states": sums,
    }


def lengths_of(emit: Emission, node: Node, batch: Dim) -> Tensor | None:
    """Return the lengths of sequences (int32), if there are such."""
    if node.input(LENGTHS) is None:
        return None
    lengths = emit.ordered(emit.tensor(node.values[LENGTHS]))
    emit.check(lengths.size, batch, "number of lengths")
    return lengths


_RULES = (
    checks.one_of("direction", "forward", "reverse", "bidirectional"),
    check_functions,
    check_shapes,
)
register("LSTM GRU RNN", Operator(rules=_RULES, infer=_infer, lower=_lower))
register(
    "DynamicQuantizeLSTM",
    Operator(rules=(check_bytes, *_RULES), infer=_infer_results, lower=_lower),
    "com.microsoft",
)
