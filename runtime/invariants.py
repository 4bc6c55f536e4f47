"""Invariant steps follow from sizes and weights alone: runs of the same sizes compute them once.

What other steps read of their results has memory of its own from the first step to the last, so
that it is still there when the next run begins. Which steps these are says ``flows``.
"""

from __future__ import annotations

import numpy as np

from ..kernels.abi import (
    BUFFER_FIRST,
    BUFFER_LAST,
    BUFFER_SIZE,
    STEP_KERNEL,
    STEP_PARTS,
    STEP_RECORD,
)
from .program import Program

_MOST_BYTES = 1 << 25
"""Bytes that are kept at most."""
_LAST = 1 << 40


class InvariantSteps:
    """The invariant steps of a binding, which are left out once a run has done them.

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
        self._rows = np.array(program.invariant_steps, np.int64)
        self._kept = np.array(program.kept_buffers, np.int64)
        self._may_keep = bool(len(self._rows)) and not program.caches
        self._done: np.ndarray | None = None  # rows of steps that are left out
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
        self._done = self._steps[self._rows]
        self._steps[self._rows, STEP_KERNEL] = idle_kernel
        self._steps[self._rows, STEP_RECORD] = idle_record
        self._steps[self._rows, STEP_PARTS] = 1

    @property
    def are_left_out(self) -> bool:
        """Whether runs leave the steps out, whose results are there."""
        return self._done is not None

    def restore(self) -> None:
        """Let the next run do the steps again."""
        if self._done is not None:
            self._steps[self._rows] = self._done
            self._done, self.is_open = None, True
