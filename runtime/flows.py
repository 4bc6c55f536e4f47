"""Invariant steps, which follow from sizes and weights alone, found when all steps are known.

Those use nothing but weights, and memory that only such steps write. What others read of it is
kept (`invariants`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..kernels.abi import ARENA, WEIGHTS
from .devices.kernel_set import AnyKernel
from .tensors import Buffer, Pending, Tensor


class _Flow(NamedTuple):
    """A step: the buffers that it uses, and those of them that it writes."""

    used: set[Buffer]
    written: set[Buffer]
    may_be_invariant: bool


class Flows:
    """What steps use and write, collected while they are added."""

    def __init__(self) -> None:
        self._flows: list[_Flow] = []
        self._apart: set[Buffer] = set()

    def add(self, step: Pending, used: Iterable[Tensor], may_be_invariant: bool) -> None:
        """Enter a step; one that a run may pass by, or repeat, is never invariant."""
        buffers = {t.buffer for t in used if t.buffer.kind != WEIGHTS and not t.buffer.is_scratch}
        is_invariant = may_be_invariant and bool(step.outputs) and _is_pure(step.kernel)
        is_invariant = is_invariant and all(b.kind == ARENA and b.phase == 0 for b in buffers)
        # A step of control flow, without results, counts what others read.
        written = {tensor.buffer for tensor in step.outputs} or buffers
        self._flows.append(_Flow(buffers, written, is_invariant))

    def take_back(self, count: int) -> None:
        """Forget the steps that came after the first so many."""
        del self._flows[count:]

    def read(self, tensors: Iterable[Tensor | None]) -> None:
        """Enter what is read between steps, or behind them."""
        self._apart.update(tensor.buffer for tensor in tensors if tensor is not None)

    def find_invariants(self) -> tuple[list[int], list[Buffer]]:
        """Return the steps that follow from sizes alone, and the buffers that are to be kept."""
        invariant = [flow.may_be_invariant for flow in self._flows]
        declared = set().union(*(flow.written for flow in self._flows))
        open_: set[Buffer] = set()  # what other steps write, or a part of it, or may write
        count = -1
        while len(open_) > count:
            count = len(open_)
            for index, flow in enumerate(self._flows):
                invariant[index] = invariant[index] and not flow.used & open_
                if not invariant[index]:
                    open_ |= flow.written | (flow.used - declared)
        others = [flow for flow, is_one in zip(self._flows, invariant, strict=True) if not is_one]
        read = self._apart.union(*(flow.used for flow in others))
        steps = [index for index, is_one in enumerate(invariant) if is_one]
        made = set().union(*(self._flows[index].used for index in steps))
        return steps, sorted(made & read, key=lambda buffer: buffer.index)


def _is_pure(kernel: AnyKernel) -> bool:
    """Tell whether a kernel gives the same in every run."""
    return not kernel.ref.is_local and not kernel.ref.module.endswith(".random")
