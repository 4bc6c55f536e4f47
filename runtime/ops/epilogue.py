"""Epilogue of a convolution or product: what its step does besides.

Bias, residual and the common activations are applied by the tile in registers; any other chain of
elementwise nodes becomes a pointwise kernel that runs over finished rows while they are in cache.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ...kernels import pointwise as language
from ...kernels.cpu.panel import EPILOGUE_WORDS
from ...kernels.emitter import NONE
from ...kernels.registry import Kernel
from ..emission import Emission
from ..graph import Info, Node
from ..symbolic import Dim, product
from ..tensors import Record, Tensor, short_name
from .pointwise import broadcast_strides, write_expression
from .registry import OPERATORS, Activation


@dataclass(frozen=True, eq=False)
class Epilogue:
    """The elementwise nodes of a group, as the step of its head carries them out.

    Attributes
    ----------
    bias
        A value added per channel (the group's own, beside the head's).
    residual
        A value of the result's shape added before the activation.
    activation, low, high
        Code and parameters for the tile.
    nodes
        Nodes left for a pointwise kernel that runs over finished rows.
    value
        What the tile has written: that kernel's first operand.
    result, expression, others
        Instead of nodes: what that kernel computes of it and other operands, and writes to a tensor
        of its own, perhaps of another type.
    scales, zero
        Instead of all these: what the tile makes bytes of whole sums with, which it writes to the
        result, of the same strides as the sums.
    shifts
        Without a result scales, one for each channel, make floats of whole sums, which these are
        added to before the activation.
    limits
        Of these bytes; None for those of their type.
    halves
        Tell whether results and residual lie as bfloat16, of sums of float32.
    other, addition
        Bytes of these strides that the tile adds before, and words that say how
        (``kernels.byte_sums``).
    kernel, record, operands
        That kernel, the template of its record, and the number of its operands; there are none
        before `over_rows`.
    may_flatten
        Tell whether no operand differs by row, so that rows lying end to end may be one.
    """

    bias: ir.Value | None = None
    residual: ir.Value | None = None
    activation: int = NONE
    low: float = 0.0
    high: float = 0.0
    nodes: Sequence[Node] = ()
    value: ir.Value | None = None
    result: Tensor | None = None
    expression: str = ""
    others: Sequence[Tensor] = ()
    scales: Tensor | None = None
    shifts: Tensor | None = None
    zero: Tensor | None = None
    limits: tuple[int, int] | None = None
    other: Tensor | None = None
    addition: Tensor | None = None
    halves: bool = False
    kernel: Kernel | None = None
    record: Record | None = None
    operands: int = 0
    may_flatten: bool = True

    @classmethod
    def match(
        cls, emit: Emission, head: Node, body: Sequence[Node], channel_axis: int,
        value: ir.Value | None = None,
    ) -> Epilogue:  # fmt: skip
        """Match the beginning of a group's body with what the tile can do.

        The body goes on from a ``value``, or else from the head's own: then it adds a residual.
        """
        adds = value is None
        value, queue = value or head.outputs[0], list(body)
        bias = residual = None
        other = _added(queue, value)
        if other is not None and _per_channel(emit.infos[other], head.infos[0], channel_axis):
            bias, value = other, queue.pop(0).outputs[0]
            other = _added(queue, value)
        if adds and other is not None and emit.infos[other].shape == head.infos[0].shape:
            residual, value = other, queue.pop(0).outputs[0]
        activation = _activation(queue, value)
        if activation is not None:
            value = queue.pop(0).outputs[0]
        return cls(bias, residual, *(activation or (NONE, 0.0, 0.0)), queue, value)

    def bias_tensor(self, emit: Emission, head: Node, repeats: int = 1) -> Tensor | None:
        """The head's bias (input 2) and the group's as one, ``repeats`` times if constant."""
        own = head.input(2)
        if own is not None:
            message = f"elements of {own.name!r} and channels"
            emit.check(product(own.dims), head.infos[0].dims[1], message)
        if self.bias is None and (own is None or repeats == 1):
            return None if own is None else emit.ordered(emit.tensor(head.values[2]))
        parts = [] if self.bias is None else [emit.infos[self.bias].array()]
        parts += [] if own is None else [own.array()]
        total = sum(part.reshape(-1).astype(head.infos[0].dtype) for part in parts)
        return emit.constant(np.tile(total, repeats), f"{head.name}.bias")

    def over_rows(
        self,
        emit: Emission,
        target: Tensor,
        axes: Sequence[int | None],
        full: Sequence[Dim] | None = None,
    ) -> Epilogue:
        """Return the epilogue with its nodes, or expression, as a kernel over finished rows.

        Parameters
        ----------
        emit : Emission
        target : Tensor
            What the tile writes, and the kernel after it unless there is a ``result``.
        axes : sequence
            Axis of the target that is image, row, pixel and channel (None: there is none).
        full : sequence of Dim, optional
            The result's real shape, when ``target`` sees it as a matrix.
        """
        if self.result is not None and self.expression:
            text, tensors = self.expression, [self.result, target, *self.others]
        elif self.nodes:
            expression = write_expression(self.nodes, self.value)
            text, tensors = expression.text, [target, target, *expression.tensors(emit, 1)]
        else:
            return self
        fields: list[Any] = [1, 1, 1, 1]
        kinds, itemsizes = [], []
        may_flatten = True
        width = 1 if axes[2] is None else target.shape[axes[2]]
        has_rows = axes[1] is not None and target.shape[axes[1]] != 1
        for position, tensor in enumerate(tensors):
            if full is not None and tuple(tensor.shape) == tuple(full):
                tensor = emit.ordered(tensor).view(target.shape, target.strides)
            tensor, strides = _strides_over(emit, tensor, target, axes)
            may_flatten &= not has_rows or strides[1] == strides[2] * width
            is_same = strides[3] == 0 and position > 1
            kinds.append(short_name(tensor.dtype) + ("s" if is_same else "v"))
            fields += [tensor, *strides]
            itemsizes.append(tensor.itemsize)
        assert len(fields) + len(itemsizes) <= EPILOGUE_WORDS
        return dataclasses.replace(
            self,
            kernel=language.pointwise(text, " ".join(kinds)),
            record=Record([*fields, *itemsizes]),
            operands=len(tensors) - 1,
            may_flatten=may_flatten,
        )

    def fields(self) -> dict[str, Any]:
        """Fields of the record of a kernel that takes an epilogue (but bias and residual)."""
        return {
            "activation": self.activation, "low": self.low, "high": self.high,
            "epilogue": self.kernel, "epilogue_record": self.record,
            "epilogue_operands": self.operands,
        }  # fmt: skip

    def scaled_fields(self) -> dict[str, Any]:
        """Fields of the record of a kernel that scales whole sums."""
        target = None if self.scales is None else self.result
        least, most = self.limits or (0, 0)
        if target is not None and self.limits is None:
            bounds = np.iinfo(target.dtype)
            least, most = bounds.min, bounds.max
        return {
            "scales": self.scales, "shifts": self.shifts, "zero": self.zero, "target": target,
            "is_signed": int(target is not None and target.dtype == "int8"),
            "least": int(least), "most": int(most),
            "other": self.other, "addition": self.addition, "halves": int(self.halves),
        }  # fmt: skip

    @property
    def ending(self) -> str:
        """What a tile makes of whole sums, one of ``kernels.cpu.tile.ENDINGS``."""
        if self.halves:
            return "halves"
        if self.addition is not None:
            return "added"
        return "floats" if self.scales is not None and self.result is None else "bytes"


def _strides_over(
    emit: Emission, tensor: Tensor, target: Tensor, axes: Sequence[int | None]
) -> tuple[Tensor, list[Dim]]:
    """Strides of an operand over image, row, pixel and channel; that of channels is 0 or 1.

    The operand comes back, copied where its channels lie apart.
    """
    steps = broadcast_strides(emit, tensor, target)
    strides = [0 if axis is None else steps[axis] for axis in axes]
    if strides[3] in (0, 1):
        return tensor, strides
    # Channels are an axis of the target: leading axes that are left out count.
    missing = len(target.shape) - len(tensor.shape)
    tensor = tensor.view((1,) * missing + tensor.shape, (0,) * missing + tensor.strides)
    tensor = emit.channels_last(tensor) if len(tensor.shape) > 2 else emit.ordered(tensor)
    steps = broadcast_strides(emit, tensor, target)
    return tensor, [0 if axis is None else steps[axis] for axis in axes]


def _is_last_use(value: ir.Value) -> bool:
    """Tell whether one node needs the value: what the tile goes on from is never in memory."""
    return len(value.uses()) == 1


def _added(queue: Sequence[Node], value: ir.Value) -> ir.Value | None:
    """The other operand of a sum of two that comes next, when nothing else needs the first."""
    if not queue or queue[0].op_type not in ("Add", "Sum") or len(queue[0].values) != 2:
        return None
    values = queue[0].values
    if value not in values or not _is_last_use(value):
        return None
    return values[1] if values[0] is value else values[0]


def _per_channel(info: Info, result: Info, axis: int) -> bool:
    if not info.is_constant or info.shape is None or result.shape is None:
        return False
    if info.rank > result.rank or not info.rank:
        return False
    at = axis - (result.rank - info.rank)
    others = [dim for i, dim in enumerate(info.shape) if i != at]
    return at >= 0 and info.shape[at] == result.shape[axis] and all(dim == 1 for dim in others)


def _activation(queue: Sequence[Node], value: ir.Value) -> Activation | None:
    """Describe the activation that comes next, if it is one that the tile can apply."""
    if not queue or queue[0].values[0] is not value or not _is_last_use(value):
        return None
    operator = OPERATORS[queue[0].ir.domain, queue[0].op_type]
    return None if operator.activation is None else operator.activation(queue[0])
