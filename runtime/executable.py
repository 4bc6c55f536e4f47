"""A program made ready for this process."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.compiler import kernel_address, native_function
from . import team as teams
from .program import ADDRESS, INPUT, KERNEL, OUTPUT, Program


class Executable:
    """A program made ready for this process: kernel addresses resolved, tables split."""

    def __init__(self, program: Program) -> None:
        self.program = program
        patches = program.patches
        addresses = [kernel_address(ref) for ref in program.kernels]
        words = program.words.copy()
        for word, _, kernel, _ in patches[patches[:, 1] == KERNEL]:
            words[word] = addresses[kernel]
        self.words = words
        self.bind_patches = np.ascontiguousarray(patches[patches[:, 1] != KERNEL])
        addressed = patches[patches[:, 1] == ADDRESS]
        moving = np.isin(program.buffers[addressed[:, 2], 0], (INPUT, OUTPUT))
        self.run_patches = np.ascontiguousarray(addressed[moving])
        self.steps = np.array(
            [(addresses[step.kernel], step.record, 0) for step in program.steps], np.int64
        ).reshape(-1, 3)
        self.costs = np.array([(step.flops, step.bytes) for step in program.steps], np.int64)
        names = ("evaluate", "plan", "fill", "schedule")
        self.evaluate, self.plan, self.fill, self.schedule = (
            native_function(teams.executor_function(name)) for name in names
        )
        self.run = teams.executor_function("run")
        self.phases = 1 + sum(bool(host.defines) for host in program.host_steps)
        self.sizes = [_size_table(program, phase) for phase in range(self.phases)]
        self.host_operators: list[Any] = [None] * len(program.host_steps)

    def host_operator(self, index: int) -> Any:
        """Return the operator of a host step; the reference implementation loads on first use."""
        if self.host_operators[index] is None:
            from .host import HostOp

            self.host_operators[index] = HostOp.from_bytes(self.program.host_steps[index].operator)
        return self.host_operators[index]


def _size_table(program: Program, phase: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the tensors that a phase places, and the slots of their sizes, a row each.

    Rows are filled up with -1, where a context keeps the number 1.
    """
    found = [
        index
        for index, spec in enumerate(program.tensors)
        if program.buffers[spec.buffer, 4] == phase and spec.dtype != "object"
    ]
    rank = max((len(program.tensors[index].shape) for index in found), default=0)
    rows = [
        [*program.tensors[index].shape, *[-1] * (rank - len(program.tensors[index].shape))]
        for index in found
    ]
    return np.array(found, np.int64), np.array(rows, np.int64).reshape(len(found), rank)
