"""Executable: a program made ready for this process, with the addresses of its kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.abi import (
    ADDRESS,
    BUFFER_KIND,
    BUFFER_PHASE,
    COST_BYTES,
    COST_COLUMNS,
    COST_OPERATIONS,
    INPUT,
    KERNEL,
    OUTPUT,
    PATCH_KIND,
    PATCH_SOURCE,
    PATCH_WORD,
    STEP_COLUMNS,
    STEP_KERNEL,
    STEP_RECORD,
)
from ..kernels.compiler import kernel_address, native_function
from . import team as teams
from .program import Program


class Executable:
    """A program made ready for this process: kernel addresses resolved, tables split.

    Attributes
    ----------
    program : Program
    words : ndarray of int64
        Argument records of the steps, with the addresses of kernels.
    bind_patches, run_patches : ndarray of int64
        Patches of a binding, and of those what every run writes anew: addresses of inputs and
        outputs.
    steps, costs : ndarray of int64
        Tables of ``kernels.abi``; records of steps are indices of words.
    evaluate, plan, fill, schedule : callable
        The executor's compiled functions, called with the address of a record and ``0, 1``.
    run : int
        Address of the executor's function ``run``.
    phases : int
        Number of phases.
    sizes : list of (ndarray, ndarray)
        For each phase its tensors, and the slots of their sizes, a row each.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        addresses = [kernel_address(ref) for ref in program.kernels]
        patches = program.patches
        kinds = patches[:, PATCH_KIND]
        words = program.words.copy()
        for patch in patches[kinds == KERNEL]:
            words[patch[PATCH_WORD]] = addresses[patch[PATCH_SOURCE]]
        self.words = words
        self.bind_patches = np.ascontiguousarray(patches[kinds != KERNEL])
        addressed = patches[kinds == ADDRESS]
        buffers = program.buffers[addressed[:, PATCH_SOURCE], BUFFER_KIND]
        self.run_patches = np.ascontiguousarray(addressed[np.isin(buffers, (INPUT, OUTPUT))])
        self.steps = np.zeros((len(program.steps), STEP_COLUMNS), np.int64)
        self.costs = np.zeros((len(program.steps), COST_COLUMNS), np.int64)
        for index, step in enumerate(program.steps):
            self.steps[index, STEP_KERNEL] = addresses[step.kernel]
            self.steps[index, STEP_RECORD] = step.record
            self.costs[index, COST_OPERATIONS] = step.flops
            self.costs[index, COST_BYTES] = step.bytes
        self.evaluate, self.plan, self.fill, self.schedule = (
            native_function(teams.executor_function(name))
            for name in ("evaluate", "plan", "fill", "schedule")
        )
        self.run = teams.executor_function("run")
        self.phases = 1 + sum(bool(host.defines) for host in program.host_steps)
        self.sizes = _size_tables(program, self.phases)
        self._host_operators: list[Any] = [None] * len(program.host_steps)

    def host_operator(self, index: int) -> Any:
        """Return the operator of a host step; the reference implementation loads on first use."""
        if self._host_operators[index] is None:
            from .host import HostOp

            self._host_operators[index] = HostOp.from_bytes(self.program.host_steps[index].operator)
        return self._host_operators[index]


def _size_tables(program: Program, phases: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each phase the tensors that it places, and the slots of their sizes."""
    tensors: list[list[int]] = [[] for _ in range(phases)]
    phase_of = program.buffers[:, BUFFER_PHASE].tolist()
    for index, spec in enumerate(program.tensors):
        if spec.dtype != "object":
            tensors[phase_of[spec.buffer]].append(index)
    return [_size_table(program, members) for members in tensors]


def _size_table(program: Program, tensors: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return tensors and the slots of their sizes, a row each.

    Rows are filled up with -1, where a binding keeps the number 1.
    """
    shapes = [program.tensors[index].shape for index in tensors]
    rank = max(map(len, shapes), default=0)
    rows = [[*shape, *[-1] * (rank - len(shape))] for shape in shapes]
    return np.array(tensors, np.int64), np.array(rows, np.int64).reshape(len(tensors), rank)
