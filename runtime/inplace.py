"""Results written over an operand that nobody reads again.

Lowerings say which operands a kernel may overwrite: it reads each element before it writes the
one at the same position. Whether that was the operand's last use is known once all steps are; then
both buffers become one, so that less memory is held and written lines are in cache already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..kernels.abi import ARENA
from .tensors import Buffer, Tensor


class Inplace:
    """Results that may be written over an operand, collected while steps are emitted."""

    def __init__(self) -> None:
        self._wanted: list[tuple[int, Buffer, Buffer]] = []
        self._merged: dict[Buffer, Buffer] = {}

    def allow(
        self, time: int, result: Tensor, operands: Sequence[Tensor], used: Sequence[Tensor]
    ) -> None:
        """Let the result of a step lie over one of some operands, where the layouts are the same.

        Parameters
        ----------
        time : int
            Of the step.
        result : Tensor
        operands : sequence of Tensor
            What the kernel may overwrite.
        used : sequence of Tensor
            All tensors of the step: whatever else lies in an operand's memory forbids it.
        """
        for operand in operands:
            buffer = operand.buffer
            sharing = [tensor for tensor in used if tensor.buffer is buffer]
            fits = buffer is not result.buffer and buffer.size == result.buffer.size
            if fits and all(_same_layout(tensor, result) for tensor in sharing):
                self._wanted.append((time, result.buffer, buffer))

    def settle(self, kept: Collection[Buffer] = ()) -> None:
        """Merge buffers, once the times of all last uses are known; nothing overwrites ``kept``."""
        for time, result, operand in self._wanted:
            under = self.merged(operand)
            if (
                operand not in kept
                and under not in kept
                and result not in self._merged
                and under is not result
                and result.kind == under.kind == ARENA
                and result.phase == under.phase
                and result.first == under.last == time
            ):
                under.last = result.last
                # The merged buffer needs no memory of its own.
                result.first, result.last = under.last + 1, under.last
                self._merged[result] = under

    def merged(self, buffer: Buffer) -> Buffer:
        """Return the buffer that a buffer has become a part of."""
        while buffer in self._merged:
            buffer = self._merged[buffer]
        return buffer


def _same_layout(a: Tensor, b: Tensor) -> bool:
    return (a.offset, a.shape, a.strides, a.itemsize) == (b.offset, b.shape, b.strides, b.itemsize)
