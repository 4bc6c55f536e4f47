"""Context of a run on a GPU: its steps are queued there, those without a kernel run on the CPU.

Where contents of buffers are is followed step by step, and copies are made where one needs them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ....errors import KernelError
from ....kernels.abi import STATUS_ERROR, STATUS_STEP
from ...executable import Executable
from ...executor import Context
from ...program import Reading
from ..copied import Copied
from .binding import CudaBinding
from .driver import Driver
from .ready import ReadyProgram
from .residency import AT_DEVICE, AT_HOST, NO_USES, Residency

_CONTROL = "kernels.cpu.control"
"""Module of kernels that let a run go on at another step."""


class CudaContext(Context):
    """State of one run at a time on a GPU.

    Parameters
    ----------
    executable : Executable
    threads : int
        Of steps that the CPU runs.
    driver : Driver
    ready : ReadyProgram
    """

    binding: CudaBinding

    def __init__(
        self, executable: Executable, threads: int, driver: Driver, ready: ReadyProgram
    ) -> None:
        self._driver, self._ready = driver, ready
        self._residency = Residency(executable.program)
        kernels = executable.program.kernels
        self._jumps = [kernels[s.kernel].module == _CONTROL for s in executable.program.steps]
        self._invariant = frozenset(executable.program.invariant_steps)
        self._left_out: frozenset[int] = frozenset()
        self._times: np.ndarray | None = None
        self._traces = False
        super().__init__(executable, threads)

    def _new_binding(self, executable: Executable, threads: int) -> CudaBinding:
        ready = self._ready
        return CudaBinding(
            executable, threads, self._driver, ready.kernels, ready.launchers, ready.weights
        )

    @property
    def nanoseconds_per_tick(self) -> float:
        """Length of a tick of what `run` writes."""
        return 1.0

    # --- runs ---------------------------------------------------------------------------------

    def _begin(self, arrays: Sequence[Any]) -> list[Any]:
        self._left_out = self._invariant if self._invariants.are_left_out else frozenset()
        self._residency.begin(self.program.kept_buffers if self._left_out else ())
        self.copies, self.binding.places = [], self.places
        outputs = super()._begin(arrays)
        for (_, buffer, _), array in zip(self._input_buffers, arrays, strict=True):
            if id(array) in self.places:
                self._residency.written((buffer,), AT_DEVICE)
        return outputs

    def _run_steps(self, first: int, last: int) -> int:
        """Run some steps; returns the step that comes next, which one may name itself."""
        step = first
        while first <= step < last:
            if self._ready.is_on_device[step]:
                step = self._run_on_device(step, last)
            else:
                step = self._run_on_host(step, last)
            if self._traces:
                break
        return step

    def _run_on_device(self, first: int, last: int) -> int:
        """Queue steps up to one that needs a copy, or that the CPU runs; returns that one."""
        binding, one_by_one = self.binding, self._times is not None or self._traces
        if binding.is_stale:
            binding.make_launches()
        end = first
        while end < last and self._ready.is_on_device[end] and not (one_by_one and end > first):
            uses = NO_USES if end in self._left_out else self._ready.uses[end]
            if missing := self._residency.missing(uses.read, AT_DEVICE):
                if end > first:
                    self._residency.take_back(missing, AT_DEVICE)
                    break
                self._to_device(missing)
            self._residency.written(uses.written, AT_DEVICE)
            end += 1
        start = time.perf_counter_ns()
        binding.queue(first, end, self._left_out)
        if self._times is not None:
            self._driver.synchronize()
            self._times[first] = time.perf_counter_ns() - start
        return end

    def _run_on_host(self, first: int, last: int) -> int:
        """Run steps up to one that needs a copy, or that the GPU runs; returns the next one."""
        end = first
        while end < last and not self._ready.is_on_device[end]:
            uses = NO_USES if end in self._left_out else self._ready.uses[end]
            if missing := self._residency.missing(uses.read, AT_HOST):
                if end > first:
                    self._residency.take_back(missing, AT_HOST)
                    break
                self._to_host(missing)
            self._residency.written(uses.written, AT_HOST)
            end += 1
            if self._jumps[end - 1] or self._times is not None or self._traces:
                break
        start = time.perf_counter_ns()
        reached = super()._run_steps(first, end)
        if self._times is not None:
            self._times[first] = time.perf_counter_ns() - start
        return reached

    def _time_steps(self, first: int, last: int, ticks: np.ndarray) -> None:
        self._times = ticks
        try:
            self._run_steps(first, last)
        finally:
            self._times = None

    def trace(self, arrays: Sequence[Any]) -> Iterator[tuple[int, np.ndarray]]:
        """Run step by step; yields a copy of every tensor a step writes, with its index."""
        self._traces = True
        try:
            yield from super().trace(arrays)
        finally:
            self._traces = False

    def _traced(self, tensor: int) -> np.ndarray:
        buffer = self.program.tensors[tensor].buffer
        self._to_host(self._residency.missing((buffer,), AT_HOST))
        return super()._traced(tensor)

    # --- copies -------------------------------------------------------------------------------

    def _to_device(self, buffers: Sequence[int]) -> None:
        binding = self.binding
        for buffer in buffers:
            target, source = int(binding.device_bases[buffer]), binding.host_address(buffer)
            self._copy(buffer, self._driver.to_device, target, source, "ToDevice")

    def _to_host(self, buffers: Sequence[int]) -> None:
        """Copy buffers to the host, if no step has failed whose results they may be."""
        if not buffers:
            return
        self._check()
        binding = self.binding
        for buffer in buffers:
            target, source = binding.host_address(buffer), int(binding.device_bases[buffer])
            self._copy(buffer, self._driver.to_host, target, source, "ToHost")

    def _copy(self, buffer: int, copy: Any, target: int, source: int, what: str) -> None:
        size = self.binding.size_of(buffer)
        start = time.perf_counter_ns()
        if size:
            copy(target, source, size)
        self.copies.append(Copied(what, buffer, size, time.perf_counter_ns() - start))

    def _check(self) -> None:
        """Raise the error of a step that has failed on the GPU, if one has."""
        if self.binding.read_status():
            words = self.binding.status_words
            step = int(np.flatnonzero(words)[0])
            self._status[STATUS_ERROR], self._status[STATUS_STEP] = words[step], step
            self.binding.clear_status()
            try:
                self._raise_if_failed()
            finally:
                self._status[STATUS_ERROR] = 0
            raise KernelError("a kernel has failed")

    # --- between stretches --------------------------------------------------------------------

    def _read(self, reading: Reading, outputs: list[Any]) -> None:
        self._bring([reading.tensor])
        super()._read(reading, outputs)

    def _run_host(self, index: int, outputs: list[Any]) -> None:
        host = self.program.host_steps[index]
        self._bring([*host.inputs, *host.captured.values()])
        super()._run_host(index, outputs)
        tensors = self.program.tensors
        self._residency.written(tuple(tensors[t].buffer for t in host.outputs if t >= 0), AT_HOST)

    def _bring(self, tensors: Sequence[int]) -> None:
        """Bring tensors to the host."""
        buffers = tuple({self.program.tensors[t].buffer for t in tensors if t >= 0})
        self._to_host(self._residency.missing(buffers, AT_HOST))

    def _collect(self, outputs: list[Any]) -> list[Any]:
        self._bring([port.tensor for port in self.program.outputs])
        self._driver.synchronize()
        self._check()
        return super()._collect(outputs)
