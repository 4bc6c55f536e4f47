"""Scale and shift per channel: into the weights of the convolution or product beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..edits import new_constant, replace
from ..report import Report
from ..rewrite import NearMiss
from ..values import attribute, constant, dims, graphs, used_once

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm")


@dataclass(frozen=True)
class ScaleShift:
    """``factor * x + shift``, both float64 of shape (channels,)."""

    factor: np.ndarray
    shift: np.ndarray


def fold_into_producer(x: ir.Value, scaling: ScaleShift) -> None:
    """Let the node that makes ``x`` scale and shift its output channels.

    Raises
    ------
    NearMiss
        x is not the result of a Conv, ConvTranspose or Gemm with constant weights, or something
        else reads it, too. Nothing is changed then.
    """
    node = x.producer()
    if node is None or node.domain or node.op_type not in _PRODUCTS:
        raise NearMiss("the producer of its input has no weights")
    if not used_once(x):
        raise NearMiss(f"{x.name!r} is used elsewhere, too")
    weights, bias = _parameters(node)
    if _outputs(node, weights) != len(scaling.factor):
        raise NearMiss("it is not one value per channel")
    scaled = weights * _along_outputs(node, weights, scaling.factor)
    _store(node, scaled, bias * scaling.factor + scaling.shift)


def fold_into_consumer(x: ir.Value, node: ir.Node, scaling: ScaleShift) -> None:
    """Let the only node that reads ``x`` scale and shift its input channels.

    Raises
    ------
    NearMiss
        The node is no Conv or Gemm with constant weights; or a shift would have to reach the
        padding, which stays zero. Nothing is changed then.
    """
    if node.domain or node.op_type not in ("Conv", "Gemm") or node.inputs[0] is not x:
        raise NearMiss("the reader of its output has no weights")
    if not used_once(x):
        raise NearMiss(f"{x.name!r} is used elsewhere, too")
    weights, bias = _parameters(node)
    if scaling.shift.any() and _is_padded(node):
        raise NearMiss(f"the padding of {node.name!r} would have to be shifted, too")
    if node.op_type == "Gemm":
        if attribute(node, "transA", 0):
            raise NearMiss(f"{node.name!r} transposes it")
        transposed = bool(attribute(node, "transB", 0))
        inner = weights.T if transposed else weights
        scaled = inner * scaling.factor[:, None]
        total = scaling.shift @ inner
        _store(node, scaled.T if transposed else scaled, bias + total)
        return
    groups = attribute(node, "group", 1)
    per_group = (groups, 1, -1, *[1] * (weights.ndim - 2))
    split = weights.reshape(groups, -1, *weights.shape[1:])
    scaled = (split * scaling.factor.reshape(per_group)).reshape(weights.shape)
    shifted = split * scaling.shift.reshape(per_group)
    total = shifted.reshape(weights.shape).sum(axis=tuple(range(1, weights.ndim)))
    _store(node, scaled, bias + total)


def _is_padded(node: ir.Node) -> bool:
    if node.op_type != "Conv":
        return False
    auto = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    pads = node.attributes["pads"].as_ints() if "pads" in node.attributes else []
    return auto not in ("NOTSET", "VALID") or (auto == "NOTSET" and any(pads))


def _parameters(node: ir.Node) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias per output channel, in float64."""
    weights = constant(node.inputs[1])
    bias_input = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(bias_input)
    if weights is None or (bias_input is not None and bias is None):
        raise NearMiss(f"the weights of {node.name!r} are not constant")
    if weights.dtype != np.float32:
        raise NearMiss(f"the weights of {node.name!r} are {weights.dtype}, not float32")
    values = [node.attributes[k].as_float() for k in ("alpha", "beta") if k in node.attributes]
    if any(value != 1.0 for value in values):
        raise NearMiss(f"{node.name!r} has alpha or beta other than 1")
    outputs = _outputs(node, weights)
    vector = np.zeros(1) if bias is None else np.asarray(bias, np.float64)
    if vector.ndim > 2 or (vector.ndim and vector.shape[-1] not in (1, outputs)):
        raise NearMiss(f"the bias of {node.name!r} is not one value per channel")
    if vector.ndim == 2 and vector.shape[0] != 1:
        raise NearMiss(f"the bias of {node.name!r} is not one value per channel")
    return np.asarray(weights, np.float64), np.broadcast_to(vector.reshape(-1), (outputs,))


def _outputs(node: ir.Node, weights: np.ndarray) -> int:
    if node.op_type == "Conv":
        return int(weights.shape[0])
    if node.op_type == "ConvTranspose":
        return int(weights.shape[1]) * attribute(node, "group", 1)
    return int(weights.shape[0 if attribute(node, "transB", 0) else 1])


def _along_outputs(node: ir.Node, weights: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Spread a factor for each output channel over the weights."""
    if node.op_type == "Gemm":
        return factor[:, None] if attribute(node, "transB", 0) else factor[None, :]
    spatial = [1] * (weights.ndim - 2)
    if node.op_type == "Conv":
        return factor.reshape(-1, 1, *spatial)
    groups = attribute(node, "group", 1)  # weights are (inputs, outputs / groups, ...)
    repeated = np.repeat(factor.reshape(groups, -1), weights.shape[0] // groups, axis=0)
    return repeated.reshape(*repeated.shape, *spatial)


def _store(node: ir.Node, weights: np.ndarray, bias: np.ndarray) -> None:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    with np.errstate(over="ignore"):
        narrow = weights.astype(np.float32), bias.astype(np.float32)
    if not all(np.isfinite(array).all() for array in narrow):
        raise NearMiss("the combined weights are not finite")
    name = node.name or node.op_type
    node.replace_input_with(1, new_constant(graph, narrow[0], f"{name}.weights"))
    if len(node.inputs) < 3:
        node.resize_inputs(3)
    node.replace_input_with(2, new_constant(graph, narrow[1], f"{name}.bias"))


def _channel_vector(array: np.ndarray, x: ir.Value, channel_axis: int) -> np.ndarray:
    """Return the values per channel of a broadcast constant, one for each channel of ``x``."""
    sizes = dims(x)
    if array.dtype != np.float32:
        raise NearMiss(f"the constant is {array.dtype}, not float32")
    if sizes is None or len(sizes) < 2 or array.ndim > len(sizes):
        raise NearMiss("the number of channels is not known")
    channels = sizes[channel_axis]
    if not isinstance(channels, int):
        raise NearMiss("the number of channels is not known")
    axis = array.ndim - len(sizes) + channel_axis
    if array.size == 1:
        vector = np.full(channels, array.reshape(-1)[0], np.float64)
    elif axis >= 0 and array.size == array.shape[axis] == channels:
        vector = array.reshape(-1).astype(np.float64)
    else:
        raise NearMiss("the constant is not one value per channel")
    if not np.isfinite(vector).all():
        raise NearMiss("the constant is not finite")
    return vector


_KINDS: dict[str, Callable[[np.ndarray], ScaleShift]] = {
    "Mul": lambda v: ScaleShift(v, np.zeros_like(v)),
    "Div": lambda v: ScaleShift(1 / v, np.zeros_like(v)),
    "Add": lambda v: ScaleShift(np.ones_like(v), v),
    "Sub": lambda v: ScaleShift(np.ones_like(v), -v),
}


def fold_affine(model: ir.Model, report: Report) -> int:
    """Fold Mul, Div, Add and Sub by a constant per channel; returns the number folded."""
    count = 0
    for graph in graphs(model):
        for node in list(graph):
            if node.op_type in _KINDS and not node.domain and len(node.inputs) == 2:
                count += _fold(node, report)
    return count


def _fold(node: ir.Node, report: Report) -> bool:
    x, operand = node.inputs
    if constant(x) is not None and node.op_type in ("Mul", "Add"):
        x, operand = operand, x
    array = constant(operand)
    if x is None or array is None:
        return False
    source, axis = _behind_transpose(x)
    before, after = source.producer(), _only_reader(node.outputs[0])
    subject = f"{node.op_type} {node.name!r}"
    reasons = []
    for neighbour in (before, after):
        near = neighbour is not None and neighbour.op_type in _PRODUCTS
        if neighbour is None or not near or neighbour.graph is not node.graph:
            continue
        try:
            if neighbour is before:
                fold_into_producer(source, _scale_shift(node.op_type, array, x, axis))
            else:
                scaling = _scale_shift(node.op_type, array, x, 1)
                fold_into_consumer(node.outputs[0], neighbour, scaling)
        except NearMiss as reason:
            reasons.append(str(reason))
            continue
        report.explain(f"{subject} folded into the weights of {neighbour.name!r}", subject)
        return replace(node, x)
    if reasons:
        report.explain(f"{subject} not folded into weights: {'; '.join(reasons)}", subject, node)
    return False


def _behind_transpose(x: ir.Value) -> tuple[ir.Value, int]:
    """Input of a Transpose that nothing else reads, and the axis of its channels in the result."""
    node = x.producer()
    if node is None or node.op_type != "Transpose" or node.domain or not used_once(x):
        return x, 1
    order = list(node.attributes["perm"].as_ints()) if "perm" in node.attributes else []
    source = node.inputs[0]
    return (x, 1) if source is None or 1 not in order else (source, order.index(1))


def _scale_shift(op_type: str, array: np.ndarray, x: ir.Value, axis: int) -> ScaleShift:
    with np.errstate(divide="ignore"):
        scaling = _KINDS[op_type](_channel_vector(array, x, axis))
    if not np.isfinite(scaling.factor).all():
        raise NearMiss("it divides by zero")
    return scaling


def _only_reader(value: ir.Value) -> ir.Node | None:
    uses = value.uses()
    return next(iter(uses)).node if len(uses) == 1 and not value.is_graph_output() else None
