"""Steps that follow from sizes and weights alone: runs of the same sizes compute them once.

Which these are is known when all steps are: those that use nothing but weights, and memory that
only such steps write. What others read of it is kept: it has memory of its own from the first step
to the last, so that it is still there when the next run begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..kernels.abi import (
    ARENA,
    BUFFER_FIRST,
    BUFFER_LAST,
    BUFFER_SIZE,
    STEP_KERNEL,
    STEP_PARTS,
    STEP_RECORD,
    WEIGHTS,
)
from ..kernels.registry import Kernel
from .program import Program
from .tensors import Buffer, Pending, Tensor

_MOST_BYTES = 1 << 25
"""Bytes that are kept at most."""
_LAST = 1 << 40


class _Flow(NamedTuple):
    """A step: the buffers that it uses, and those of them that it writes."""

    used: set[Buffer]
    written: set[Buffer]
    may_settle: bool


class Flows:
    """What steps use and write, collected while they are added."""

    def __init__(self) -> None:
        self._flows: list[_Flow] = []
        self._apart: set[Buffer] = set()

    def add(self, step: Pending, used: Iterable[Tensor], may_settle: bool) -> None:
        """Enter a step; one that a run may pass by, or repeat, never settles."""
        buffers = {t.buffer for t in used if t.buffer.kind != WEIGHTS and not t.buffer.is_scratch}
        settles = may_settle and bool(step.outputs) and _is_pure(step.kernel)
        settles = settles and all(b.kind == ARENA and b.phase == 0 for b in buffers)
        # A step of control flow, without results, counts what others read.
        written = {tensor.buffer for tensor in step.outputs} or buffers
        self._flows.append(_Flow(buffers, written, settles))

    def take_back(self, count: int) -> None:
        """Forget the steps that came after the first so many."""
        del self._flows[count:]

    def read(self, tensors: Iterable[Tensor | None]) -> None:
        """Enter what is read between steps, or behind them."""
        self._apart.update(tensor.buffer for tensor in tensors if tensor is not None)

    def settle(self) -> tuple[list[int], list[Buffer]]:
        """Return the steps that follow from sizes alone, and the buffers that are to be kept."""
        settled = [flow.may_settle for flow in self._flows]
        declared = set().union(*(flow.written for flow in self._flows))
        open_: set[Buffer] = set()  # what other steps write, or a part of it, or may write
        count = -1
        while len(open_) > count:
            count = len(open_)
            for index, flow in enumerate(self._flows):
                settled[index] = settled[index] and not flow.used & open_
                if not settled[index]:
                    open_ |= flow.written | (flow.used - declared)
        others = [flow for flow, settles in zip(self._flows, settled, strict=True) if not settles]
        read = self._apart.union(*(flow.used for flow in others))
        steps = [index for index, settles in enumerate(settled) if settles]
        made = set().union(*(self._flows[index].used for index in steps))
        return steps, sorted(made & read, key=lambda buffer: buffer.index)


def _is_pure(kernel: Kernel) -> bool:
    """Tell whether a kernel gives the same in every run."""
    return not kernel.ref.is_local and not kernel.ref.module.endswith(".random")


class Settled:
    """The settled steps of a binding, which are left out once a run has done them.

    Parameters
    ----------
    program : Program
    steps : ndarray of int64
        The binding's table of steps.

    Attributes
    ----------
    buffers : ndarray of int64
        Table of buffers to plan memory with.
    """

    def __init__(self, program: Program, steps: np.ndarray) -> None:
        self._program, self._steps = program, steps
        self._rows = np.array(program.settled, np.int64)
        self._kept = np.array(program.kept, np.int64)
        self._may_keep = bool(len(self._rows)) and not program.caches
        self._done: tuple[np.ndarray, np.ndarray] | None = None  # kernels and records
        self.buffers = program.buffers.copy() if self._may_keep else program.buffers
        self.is_open = self._may_keep

    def begin(self, values: np.ndarray) -> None:
        """Let the next run do all steps, at sizes as they are now."""
        if not self._may_keep:
            return
        self.restore()
        bytes_ = values[self._program.buffers[self._kept, BUFFER_SIZE]]
        self.is_open = bool(bytes_.sum() <= _MOST_BYTES)
        own = self._program.buffers[self._kept]
        self.buffers[self._kept, BUFFER_FIRST] = 0 if self.is_open else own[:, BUFFER_FIRST]
        self.buffers[self._kept, BUFFER_LAST] = _LAST if self.is_open else own[:, BUFFER_LAST]

    def leave_out(self, idle_kernel: int, idle_record: int) -> None:
        """Leave the steps out of further runs, after one that has done all."""
        self.is_open = False
        rows = self._steps[self._rows]
        self._done = rows[:, STEP_KERNEL], rows[:, STEP_RECORD]
        self._steps[self._rows, STEP_KERNEL] = idle_kernel
        self._steps[self._rows, STEP_RECORD] = idle_record
        self._steps[self._rows, STEP_PARTS] = 1

    def restore(self) -> None:
        """Let the next run do the steps again."""
        if self._done is not None:
            kernels, records = self._done
            self._steps[self._rows, STEP_KERNEL] = kernels
            self._steps[self._rows, STEP_RECORD] = records
            self._done, self.is_open = None, True
