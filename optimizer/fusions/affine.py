"""Per-channel Mul and Add after a convolution or product: into its weights and bias."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as ir

from ..values import constant, new_constant, replace

if TYPE_CHECKING:
    from ..pipeline import Report


def scale_weights(model: ir.Model, x: ir.Value, factor: np.ndarray, shift: np.ndarray) -> bool:
    """Scale and shift the output channels of the node that makes ``x``, its only user's input.

    Parameters
    ----------
    factor, shift : ndarray of float64, shape (channels,)

    Returns
    -------
    bool
        False when x is not the result of a Conv, ConvTranspose or Gemm with constant weights, or
        is used elsewhere.
    """
    node = x.producer()
    if node is None or node.domain or len(x.uses()) != 1 or x.is_graph_output():
        return False
    weights = constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if weights is None or weights.dtype != np.float32:
        return False
    bias_value = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(bias_value)
    if bias_value is not None and bias is None:
        return False
    if node.op_type == "Conv":
        shape = (-1, *[1] * (weights.ndim - 1))
        scaled = weights * factor.reshape(shape)
    elif node.op_type == "ConvTranspose" and _group(node) == 1:
        scaled = weights * factor.reshape(1, -1, *[1] * (weights.ndim - 2))
    elif node.op_type == "Gemm" and _plain_gemm(node):
        transposed = "transB" in node.attributes and node.attributes["transB"].as_int()
        scaled = weights * (factor[:, None] if transposed else factor[None, :])
    else:
        return False
    old = 0.0 if bias is None else np.asarray(bias, np.float64).reshape(-1)
    new_bias = np.broadcast_to(old * factor + shift, factor.shape)
    name = node.name or node.op_type
    node.replace_input_with(
        1, new_constant(model.graph, scaled.astype(np.float32), f"{name}.weights")
    )
    made = new_constant(model.graph, new_bias.astype(np.float32), f"{name}.bias")
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, made)
    return True


def _group(node: ir.Node) -> int:
    return node.attributes["group"].as_int() if "group" in node.attributes else 1


def _plain_gemm(node: ir.Node) -> bool:
    values = [node.attributes[k].as_float() for k in ("alpha", "beta") if k in node.attributes]
    return all(value == 1.0 for value in values)


def _channel_vector(array: np.ndarray, x: ir.Value) -> np.ndarray | None:
    """The values per channel of a broadcast constant, or None when it differs elsewhere."""
    if x.shape is None or len(x.shape) < 2:
        return None
    channels = x.shape[1]
    rank = len(x.shape)
    if array.size == 1 and array.ndim <= rank and isinstance(channels, int):
        return np.full(channels, float(array.reshape(-1)[0]))
    axis = array.ndim - rank + 1
    if array.ndim > rank or axis < 0 or array.size != array.shape[axis]:
        return None
    return array.reshape(-1).astype(np.float64) if array.size == channels else None


def fold_affine(model: ir.Model, report: Report) -> int:
    """Fold Mul, Add and Sub by a constant per channel; returns the number folded."""
    count = 0
    for node in list(model.graph):
        if node.op_type not in ("Mul", "Add", "Sub") or node.domain or len(node.inputs) != 2:
            continue
        a, b = node.inputs
        if a is None or b is None:
            continue
        if constant(a) is not None and node.op_type != "Sub":
            a, b = b, a
        array = constant(b)
        producer = a.producer()
        if array is None or producer is None or producer.op_type not in (
            "Conv", "ConvTranspose", "Gemm",
        ):  # fmt: skip
            continue
        values = _channel_vector(array, a)
        if values is None or array.dtype != np.float32:
            report.explain(f"{node.name}: {node.op_type} not folded, not one value per channel")
            continue
        ones, zeros = np.ones_like(values), np.zeros_like(values)
        pair = {"Mul": (values, zeros), "Add": (ones, values), "Sub": (ones, -values)}
        if node.outputs[0].is_graph_output():
            continue
        if scale_weights(model, a, *pair[node.op_type]):
            count += replace(node, a)
    return count
