"""What follows a convolution or product in the same step: bias, residual, activation, the rest.

The common endings are done by the tile in registers; any other chain becomes a pointwise kernel
that runs on finished rows while they are in cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels import pointwise as language
from ...kernels.emitter import CLIP, HARD_SWISH, LEAKY_RELU, NONE
from ..emission import Emission
from ..graph import Info, Node
from ..tensors import Record, Tensor
from .pointwise import broadcast_strides, write_expression


@dataclass
class Plan:
    """How a group's nodes are carried out.

    Attributes
    ----------
    bias
        A value added per channel (the group's own, beside the head's).
    residual
        A value of the result's shape added before the activation.
    activation, low, high
        Code and parameters for the tile.
    rest
        Nodes left for a pointwise kernel.
    """

    bias: ir.Value | None = None
    residual: ir.Value | None = None
    activation: int = NONE
    low: float = 0.0
    high: float = 0.0
    rest: Sequence[Node] = ()


def plan(emit: Emission, head: Node, body: Sequence[Node], channel_axis: int) -> Plan:
    """Match the beginning of a group with what the tile can do; the rest is left over."""
    found = Plan()
    value = head.outputs[0]
    queue = list(body)
    shape = head.infos[0].shape
    other = _added(queue[0], value) if queue else None
    if other is not None and _per_channel(emit.infos[other], head.infos[0], channel_axis):
        found.bias = other
        value = queue.pop(0).outputs[0]
    if (
        queue
        and (other := _added(queue[0], value)) is not None
        and emit.infos[other].shape == shape
    ):
        found.residual = other
        value = queue.pop(0).outputs[0]
    if queue and _is_last_use(value) and _activation(queue[0], value, found):
        queue.pop(0)
    found.rest = queue
    return found


def _is_last_use(value: ir.Value) -> bool:
    """Tell whether one node needs the value: what the tile goes on from is never in memory."""
    return len(value.uses()) == 1


def _added(node: Node, value: ir.Value) -> ir.Value | None:
    """The other operand of a sum of two, when nothing else needs the first."""
    if node.op_type not in ("Add", "Sum") or len(node.values) != 2 or not _is_last_use(value):
        return None
    if value not in node.values:
        return None
    return node.values[1] if node.values[0] is value else node.values[0]


def _per_channel(info: Info, result: Info, axis: int) -> bool:
    if not info.is_constant or info.shape is None or result.shape is None:
        return False
    if info.rank > result.rank or not info.rank:
        return False
    at = axis - (result.rank - info.rank)
    others = [dim for i, dim in enumerate(info.shape) if i != at]
    return at >= 0 and info.shape[at] == result.shape[axis] and all(dim == 1 for dim in others)


def _scalar(info: Info | None, default: float) -> float | None:
    if info is None:
        return default
    if not info.is_constant or info.array().size != 1:
        return None
    return float(info.array().reshape(-1)[0])


def _activation(node: Node, value: ir.Value, found: Plan) -> bool:
    if node.values[0] is not value:
        return False
    if node.op_type == "Relu":
        found.activation, found.low, found.high = CLIP, 0.0, np.inf
    elif node.op_type == "LeakyRelu":
        found.activation, found.low = LEAKY_RELU, node.attribute("alpha", 0.01)
    elif node.op_type == "HardSwish":
        found.activation = HARD_SWISH
    elif node.op_type == "Clip":
        least = node.attribute("min", _scalar(node.input(1), -np.inf))
        most = node.attribute("max", _scalar(node.input(2), np.inf))
        if least is None or most is None:
            return False
        found.activation, found.low, found.high = CLIP, least, most
    else:
        return False
    return True


def pointwise_fields(
    emit: Emission,
    rest: Sequence[Node],
    value: ir.Value,
    target: Tensor,
    axes: Sequence[int | None],
    full: Sequence[Any] | None = None,
) -> dict[str, Any]:
    """Fields of the pointwise kernel run over finished rows.

    Parameters
    ----------
    rest : sequence of Node
        The nodes; empty for none.
    value : onnx_ir.Value
        What the tile has written to ``target``, operand x0.
    target : Tensor
    axes : sequence
        Which axis of the target is image, row, pixel and channel (None: there is none).
    full : sequence of Dim, optional
        The result's real shape, when ``target`` sees it as a matrix.
    """
    if not rest:
        return {"epilogue": 0, "epilogue_record": 0, "epilogue_operands": 0, "may_flatten": 1}

    expression = write_expression(rest, value)
    tensors = [target, target, *(emit.tensor(v) for v in expression.operands[1:])]
    fields: list[Any] = [1, 1, 1, 1]
    kinds = []
    flat = 1
    for tensor in tensors:
        if full is not None and tuple(tensor.shape) == tuple(full):
            tensor = emit.ordered(tensor)
            tensor = tensor.view(target.shape, target.strides)
        strides = broadcast_strides(emit, tensor, target)
        four = [0 if axis is None else strides[axis] for axis in axes]
        if four[3] not in (0, 1):
            # Channels are an axis of the target: leading axes that are left out count.
            missing = len(target.shape) - len(tensor.shape)
            tensor = tensor.view((1,) * missing + tensor.shape, (0,) * missing + tensor.strides)
            tensor = emit.channels_last(tensor) if len(tensor.shape) > 2 else emit.ordered(tensor)
            strides = broadcast_strides(emit, tensor, target)
            four = [0 if axis is None else strides[axis] for axis in axes]
        width = 1 if axes[2] is None else target.shape[axes[2]]
        if axes[1] is not None and target.shape[axes[1]] != 1 and four[1] != four[2] * width:
            flat = 0
        kinds.append("f32s" if four[3] == 0 and tensor is not target else "f32v")
        fields += [tensor, *four]
    kernel = language.pointwise(expression.text, " ".join(kinds))
    record = Record(fields)
    return {
        "epilogue": kernel,
        "epilogue_record": record,
        "epilogue_operands": len(tensors) - 1,
        "may_flatten": flat,
    }
