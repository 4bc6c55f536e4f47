"""Residual sums behind a product of bytes: added in the tile that makes the bytes of its sums.

Networks quantized tensor by tensor round a convolution's result to its own grid, dequantize it and
the other operand, add them, and quantize the sum. The tile does the same in registers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ...kernels.byte_sums import addition_words
from ...kernels.quotients import is_ordinary
from ..emission import Emission
from ..graph import Node
from ..groups import Group
from ..strides import same_strides
from ..tensors import Tensor
from .byte_limits import Limited
from .epilogue import Epilogue

ByteGrid = tuple[np.ndarray, np.ndarray]
"""Scale, float32, and zero point."""


@dataclasses.dataclass(frozen=True)
class Residual:
    """What follows the bytes that a head gives: a sum with others, which becomes bytes.

    Attributes
    ----------
    other : onnx_ir.Value
        The other bytes.
    own_grid, other_grid, grid
        Of the head's bytes, of the others, and of the sum.
    is_positive
        Whether a Relu lies between.
    """

    other: ir.Value
    own_grid: ByteGrid
    other_grid: ByteGrid
    grid: ByteGrid
    is_positive: bool

    @classmethod
    def of(cls, group: Group) -> Residual | None:
        """Return what a group's body is; None unless it is exactly that."""
        head, body = group.head, list(group.body)
        if head is None or not body:
            return None
        makers = {node.outputs[0]: node for node in body}
        quantizer = body[-1]
        total = makers.get(quantizer.values[0])  # type: ignore[arg-type]
        is_positive = total is not None and total.op_type == "Relu"
        if is_positive:
            total = makers.get(total.values[0])  # type: ignore[arg-type,union-attr]
        if (
            total is None
            or total.op_type not in ("Add", "Sum")
            or quantizer.op_type != "QuantizeLinear"
        ):
            return None
        operands = [makers.get(value) for value in total.values]  # type: ignore[arg-type]
        if not all(each is not None and each.op_type == "DequantizeLinear" for each in operands):
            return None
        if len(operands) != 2 or len(body) != 4 + is_positive or operands[0] is operands[1]:
            return None
        own, other = sorted(operands, key=lambda node: node.values[0] is not head.outputs[0])  # type: ignore[union-attr]
        assert own is not None
        assert other is not None
        floats = (info.dtype for node in body[:-1] for info in node.infos)
        if set(floats) != {"float32"} or quantizer.attribute("precision", 0) not in (0, 1):
            return None
        own_grid, other_grid, grid = grid_of(own), grid_of(other), grid_of(quantizer)
        if own_grid is None or other_grid is None or grid is None:
            return None
        value = other.values[0]
        is_alike = value is not None and other.required(0).shape == head.infos[0].shape
        if own.values[0] is not head.outputs[0] or value is None or not is_alike:
            return None
        return cls(value, own_grid, other_grid, grid, is_positive)

    def added(self, emit: Emission, epilogue: Epilogue, is_image: bool) -> Epilogue | None:
        """Return an epilogue whose bytes are the sums; None where the others lie otherwise."""
        y, other = epilogue.result, emit.tensor(self.other)
        assert y is not None
        other = emit.channels_last(other) if is_image else emit.ordered(other)
        if not same_strides(y.shape, y.strides, other.strides):
            return None
        (scale, zero) = self.grid
        words = emit.constant(addition_words(self.own_grid, self.other_grid, scale))
        ends = np.iinfo(zero.dtype)
        return dataclasses.replace(
            epilogue, zero=emit.constant(zero), other=other, addition=words,
            limits=(max(ends.min, int(zero)), ends.max) if self.is_positive else None,
        )  # fmt: skip


def tile_bytes(
    emit: Emission, group: Group, scale: Tensor, zero: Tensor, order: Sequence[int] | None = None
) -> tuple[Epilogue, Group]:
    """Return an epilogue that makes bytes of sums in the tile, and what of a group is left.

    ``scale`` and ``zero`` are those of the head's own bytes. Its result is the head's, or that of
    a Clip or of a residual sum behind it.
    """
    head, residual = group.head, Residual.of(group)
    assert head is not None
    if residual is not None:
        y = emit.output(group.last, order=order)
        whole = residual.added(
            emit, Epilogue(result=y, scales=scale, zero=zero), is_image=order is not None
        )
        if whole is not None:
            return whole, Group([head], head)
    limited = Limited.of(group)
    y = emit.output(limited.node, order=order)
    epilogue = Epilogue(result=y, scales=scale, zero=zero, limits=limited.limits)
    return epilogue, limited.rest


def grid_of(node: Node) -> ByteGrid | None:
    """Return that of a QuantizeLinear or DequantizeLinear of bytes with one constant scale."""
    infos = [node.input(1), node.input(2)]
    if not all(info is not None and info.is_constant and info.array().size == 1 for info in infos):
        return None
    scale, zero = (info.array().reshape(()) for info in infos)  # type: ignore[union-attr]
    if scale.dtype != np.float32 or zero.dtype not in (np.int8, np.uint8):
        return None
    return (scale, zero) if scale > 0 and is_ordinary.py_func(scale) else None
