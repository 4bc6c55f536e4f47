"""Executable: a program made ready for this process, with the addresses of its kernels."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.abi import (
    ADDRESS,
    BUFFER_KIND,
    BUFFER_LAST,
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
from ..kernels.compiler import native_function
from . import team as teams
from .element_types import make_known
from .limits import Limits
from .program import Program

if TYPE_CHECKING:
    from .devices.device import Device


class Executable:
    """A program made ready for this process: kernel addresses resolved, tables split.

    Parameters
    ----------
    program : Program
    device : Device
        What has loaded the kernels.

    Attributes
    ----------
    program : Program
    device : Device
    words : ndarray of int64
        Argument records of the steps, with the addresses of kernels.
    bind_patches, run_patches : ndarray of int64
        Patches of a binding, and of those what every run writes anew: addresses of inputs and
        outputs.
    host_patches : list of ndarray of int64
        Patches of a binding for each host step: addresses of what it gives.
    steps, costs : ndarray of int64
        Tables of ``kernels.abi``; records of steps are indices of words.
    evaluate, plan, fill, schedule : callable
        The executor's compiled functions, called with the address of a record and ``0, 1``.
    run : int
        Address of the executor's function ``run``.
    idle_kernel : int
        Address of a kernel that does nothing with a record of zeros.
    has_array_ports : bool
        Whether all inputs and outputs are arrays of a run, and no host steps or readings between.
    is_plain : bool
        Whether a run is one walk of the processor's, from arrays to arrays.
    phases : int
        Number of phases.
    begins : list of int
        The time at which each phase begins, in steps of the program, host steps and readings
        included; -1 for the first.
    last_read : list of list of int
        Buffers with results of host steps that nothing reads after a host step, for each of them.
    limits : Limits
        What sizes may not go beyond.
    """

    def __init__(self, program: Program, device: Device) -> None:
        self.program, self.device = program, device
        make_known(tensor.dtype for tensor in program.tensors)
        addresses = [device.address(ref) for ref in program.kernels]
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
        self.host_patches = _host_patches(program, addressed)
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
        self.idle_kernel = teams.executor_function("fill")
        times = [stretch.last + i for i, stretch in enumerate(program.stretches)]
        self.begins = [-1, *(times[index] for index, _ in program.opened_phases())]
        self.phases = len(self.begins)
        hosts = zip(times, program.stretches, strict=True)
        self.last_read = _last_read(program, [at for at, stretch in hosts if stretch.host >= 0])
        ports = [*program.inputs, *program.outputs]
        lie = program.buffers[[program.tensors[port.tensor].buffer for port in ports], BUFFER_KIND]
        is_whole = not program.host_steps and not program.readings
        self.has_array_ports = is_whole and bool(np.isin(lie, (INPUT, OUTPUT)).all())
        self.is_plain = device.is_host and self.has_array_ports
        self.limits = Limits(program, self.phases)
        self._host_operators: list[Any] = [None] * len(program.host_steps)
        self._bodies: list[Executable | None] = [None] * len(program.bodies)
        if program.is_local:  # as they are registered now
            for index in range(len(program.host_steps)):
                self.host_operator(index)

    def host_operator(self, index: int) -> Any:
        """Return the operator of a host step; the reference implementation loads on first use."""
        if self._host_operators[index] is None:
            self._host_operators[index] = self.new_host_operator(index)
        return self._host_operators[index]

    def new_host_operator(self, index: int) -> Any:
        """Return the operator of a host step anew."""
        from .host import HostOp

        operator = HostOp.from_bytes(self.program.host_steps[index].operator)
        if (most := self.program.metadata.get("max_iterations")) is not None:
            operator.limit_iterations(most)
        return operator

    def body(self, index: int) -> Executable:
        """Return a body of the program, made ready on first use."""
        if (body := self._bodies[index]) is None:
            self._bodies[index] = body = Executable(self.program.bodies[index], self.device)
        return body


def _giver(program: Program) -> np.ndarray:
    """Return for each buffer the host step that gives it, -1 for all others."""
    giver = np.full(len(program.buffers), -1)
    for step, host in enumerate(program.host_steps):
        giver[[program.tensors[index].buffer for index in host.outputs if index >= 0]] = step
    return giver


def _host_patches(program: Program, addressed: np.ndarray) -> list[np.ndarray]:
    """Return for each host step the patches with addresses of what it gives."""
    givers = _giver(program)[addressed[:, PATCH_SOURCE]]
    order = np.argsort(givers, kind="stable")
    ends = np.searchsorted(givers[order], np.arange(len(program.host_steps) + 1))
    return [np.ascontiguousarray(part) for part in np.split(addressed[order], ends)[1:-1]]


def _last_read(program: Program, times: list[int]) -> list[list[int]]:
    """Return for each host step, of times as given, the buffers that are not read after it."""
    outputs = {program.tensors[port.tensor].buffer for port in program.outputs}
    found: list[list[int]] = [[] for _ in program.host_steps]
    for buffer in np.flatnonzero(_giver(program) >= 0).tolist():
        step = bisect.bisect_left(times, program.buffers[buffer, BUFFER_LAST])
        if step < len(found) and buffer not in outputs:
            found[step].append(buffer)
    return found
