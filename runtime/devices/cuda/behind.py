"""What follows a product or convolution in its step on a GPU: the elementwise nodes of its group.

Their text and operands are those of an elementwise step (`ops.pointwise`), which epilogues of the
CPU have, too; here the kernel of the product computes them of its sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ....kernels.cuda.tensor_cores.epilogue import Epilogue
from ...emission import Emission
from ...groups import Group
from ...ops.pointwise import broadcast_strides, emit_pointwise, write_expression
from ...symbolic import Dim, modulo
from ...tensors import Record, Tensor

VECTOR_BYTES = 16
"""What kernels load and store at a time."""


@dataclass(frozen=True)
class Behind:
    """Nodes behind a product.

    Attributes
    ----------
    text : str
        An expression whose first operand is the product; empty where nothing follows.
    tensors : sequence of Tensor
        Its other operands.
    """

    text: str = ""
    tensors: Sequence[Tensor] = ()

    @classmethod
    def of(cls, emit: Emission, group: Group, is_image: bool = False) -> Behind:
        """Return what follows the head of a group, whose result perhaps has channels last."""
        if not group.body or group.head is None:
            return cls()
        expression = write_expression(group.body, group.head.outputs[0])
        tensors = expression.tensors(emit, 1)
        if is_image:
            rank, shape = group.last.infos[0].rank, group.last.infos[0].dims
            tensors = [
                emit.channels_last(t) if len(t.shape) == rank and t.shape[1:] == shape[1:] else t
                for t in tensors
            ]
        return cls(expression.text, tensors)

    def like(self, emit: Emission, y: Tensor, axes: Sequence[int]) -> Behind:
        """Return the operands as of the result with its axes in another order."""
        views = []
        for tensor, steps in zip(self.tensors, self.strides(emit, y), strict=True):
            shape, strides = ([each[axis] for axis in axes] for each in (y.shape, steps))
            views.append(tensor.view(shape, strides))
        return Behind(self.text, views)

    def strides(self, emit: Emission, y: Tensor) -> list[list[Dim]]:
        """Return the strides of the operands over the axes of the result."""
        return [broadcast_strides(emit, tensor, y) for tensor in self.tensors]

    def epilogue(
        self, bias: Tensor | None, columns: Sequence[Dim], rows: Sequence[Sequence[Dim]]
    ) -> tuple[Epilogue, Record | int] | None:
        """Return how a kernel has it, and the record of its operands.

        Parameters
        ----------
        bias : Tensor or None
            One element for each column.
        columns : sequence of Dim
            Strides of the operands from column to column.
        rows : sequence of sequences of Dim
            Those from row to row, and along two axes of matrices.

        Returns
        -------
        None
            An operand's columns lie apart.
        """
        kinds, words = [], []
        for tensor, column, steps in zip(self.tensors, columns, rows, strict=True):
            if column not in (0, 1) or tensor.dtype not in ("float32", "int32"):
                return None
            is_even = all(is_multiple(4 * step, VECTOR_BYTES) for step in steps)
            is_even &= is_multiple(tensor.offset, VECTOR_BYTES)
            kinds.append("s" if column == 0 else "v" if is_even else "u")
            words += [tensor, *(4 * step for step in steps)]
        record = Record(words) if words else 0
        return Epilogue("" if bias is None else "column", None, self.text, tuple(kinds)), record


def is_multiple(value: Dim, unit: int) -> bool:
    """Tell whether a size is known to be a multiple."""
    return modulo(value, unit) == 0


def emit_body(emit: Emission, group: Group, target: Tensor | None = None) -> None:
    """Emit the nodes behind the head of a group, which has been computed, in a further step."""
    if group.body:
        emit_pointwise(emit, Group(group.body), target)
