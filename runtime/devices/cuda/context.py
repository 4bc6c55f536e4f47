"""Context of a run on a GPU: its steps are queued there, those without a kernel run on the CPU.

Where contents of buffers are is followed step by step, and copies are made where one needs them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ....errors import KernelError
from ....kernels.abi import STATUS_ERROR, STATUS_STEP
from ....kernels.record import address_of
from ...binding import Output
from ...executable import Executable
from ...executor import Context
from ...memory import allocated
from ...program import Reading
from ..bound import Bound
from ..copied import Copied
from .arrays import Place
from .binding import CudaBinding
from .bound_runs import BoundRuns
from .driver import Copy, Driver
from .kept_outputs import KeptOutputs
from .output_memory import OutputMemory
from .ready import ReadyProgram
from .repeated import Found, RepeatedRuns, outputs_apart
from .residency import AT_DEVICE, AT_HOST, NO_USES, Residency

_MOST_RUNNING = 16
"""Runs that nobody has waited for."""
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
    memory : OutputMemory
        For outputs that stay on the GPU.
    ready : ReadyProgram

    Attributes
    ----------
    waits : bool
        Whether the next run waits until the GPU has done all of it.
    bound : BoundRuns
        Runs with arrays of an `IOBinding`.
    """

    binding: CudaBinding

    def __init__(
        self,
        executable: Executable,
        threads: int,
        driver: Driver,
        memory: OutputMemory,
        ready: ReadyProgram,
    ) -> None:
        self._driver, self._ready = driver, ready
        self._kept = KeptOutputs(executable.program, driver, memory, id(ready))
        self.bound = BoundRuns(self._kept)
        self.places: Mapping[int, Place] = {}
        self.waits, self._is_running = True, False
        self._held: dict[int, Any] = {}  # what runs use that nobody has waited for, by its id
        self._residency = Residency(executable.program)
        kernels = executable.program.kernels
        self._jumps = [kernels[s.kernel].module == _CONTROL for s in executable.program.steps]
        self._invariant = frozenset(executable.program.invariant_steps)
        self._left_out: frozenset[int] = frozenset()
        self._times: np.ndarray | None = None
        self._marks: list[tuple[int, Any, Any]] = []  # step, and marks around it
        self._traces = False
        super().__init__(executable, threads)
        caches = {cache.input for cache in self.program.caches}
        self._caches = tuple(
            self.program.tensors[port.tensor].buffer
            for port in self.program.inputs
            if port.name in caches
        )
        self._no_errors = bytes(self.binding.status_words.nbytes)
        self._found: Found | None = None
        self._repeated: RepeatedRuns | None = None
        if executable.has_array_ports and all(ready.is_on_device) and outputs_apart(self.program):
            self._repeated = RepeatedRuns(self.program, self.binding)

    def _new_binding(self, executable: Executable, threads: int) -> CudaBinding:
        ready = self._ready
        return CudaBinding(
            executable, threads, self._driver, ready.kernels, ready.loaded, ready.weights
        )

    nanoseconds_per_tick = 1.0

    # --- runs ---------------------------------------------------------------------------------

    def run(self, arrays: Sequence[Any], ticks: np.ndarray | None = None) -> list[Any]:
        """Run with contiguous arrays of the bound dtypes and shapes; see `Context.run`."""
        if self._repeated is not None and ticks is None and not self._invariants.is_open:
            outputs = self._run_again(self._repeated, arrays)
            if outputs is not None:
                return outputs
        self.finish()
        try:
            outputs = super().run(arrays, ticks)
        finally:
            self._kept.arrays = {}
            self.binding.places = {}  # arrays of the caller, who may be done with them
        if self._repeated is not None and ticks is None:
            self._repeated.note(self._left_out)
        return outputs

    def run_slowly(self, bound: Bound) -> tuple[list[Any], Found | None]:
        """Run with bound arrays; returns also the run that was found, if one was made before."""
        self.places, self._kept.targets, self.waits = bound.places, bound.targets, bound.waits
        self._found = None
        try:
            return self.run(bound.arrays), self._found
        finally:
            self.places, self._kept.targets, self.waits = {}, {}, True

    def run_quickly(self, bound: Bound, queue: Callable[[], None]) -> None:
        """Run with bound arrays by a call that queues all steps."""
        if not bound.waits:
            self._hold(bound)
        queue()
        self._is_running = True
        if bound.waits:
            self.finish()

    def _hold(self, used: Any) -> None:
        """Keep what a run uses that nobody waits for; waits for those before if they are many."""
        if len(self._held) >= _MOST_RUNNING and id(used) not in self._held:
            self.finish()
        self._held[id(used)] = used

    def finish(self) -> None:
        """Wait for a run that nobody has waited for.

        Raises
        ------
        KernelError
            A step of it has failed.
        """
        if self._is_running:
            self._is_running = False
            try:
                self._driver.synchronize()
            finally:
                self._held.clear()
            self._check()

    @property
    def is_shortened(self) -> bool:
        """Whether runs leave out steps that follow from sizes alone."""
        return self._invariants.are_left_out

    def _run_again(self, repeated: RepeatedRuns, arrays: Sequence[Any]) -> list[Any] | None:
        """Run as before, with arrays that lie where they did; None if there was no such run."""
        outputs: list[Any] = [None] * len(self.program.outputs)
        written: dict[int, Place] = {}
        for index in self._kept.targets:
            _, _, shape, dtype = self.binding.outputs[index]
            written[index], outputs[index] = self._kept.make(index, shape, np.dtype(dtype))
        self._left_out = self._invariant if self._invariants.are_left_out else frozenset()
        self._found = found = repeated.find(arrays, self.places, written, self._left_out)
        if found is None:
            return None
        if found.to_device:
            self.finish()
        self.copies = []
        for buffer, copy in found.to_device:
            start = time.perf_counter_ns()
            self._driver.to_device(copy, follows=False)
            took = time.perf_counter_ns() - start
            self.copies.append(Copied("ToDevice", buffer, copy.size, took))
        for copy in found.before:
            self._driver.move(*copy)
        found.queue()
        for copy in found.after:
            self._driver.move(*copy)
        if not self.waits and not found.sources:
            self._hold((arrays, self.places))
            self._is_running = True
            return outputs
        self._is_running = False
        copies = []
        for index, source in found.sources.items():
            _, buffer, shape, dtype = self.binding.outputs[index]
            outputs[index] = array = allocated(shape, dtype, "an output")
            if array.nbytes:
                copies.append((buffer, Copy(address_of(array), source, array.nbytes)))
        self._copy_to_host(copies)
        self._held.clear()
        return outputs

    def _copy_to_host(self, copies: Sequence[tuple[int, Copy]]) -> None:
        """Wait for all that was queued, and copy buffers to the host."""
        start = time.perf_counter_ns()
        if copies:
            self._driver.to_host([copy for _, copy in copies])
        else:
            self._driver.synchronize()
        self._check()
        took, whole = time.perf_counter_ns() - start, sum(copy.size for _, copy in copies)
        self.copies += [
            Copied("ToHost", buffer, copy.size, took * copy.size // max(whole, 1))
            for buffer, copy in copies
        ]

    def _begin(self, arrays: Sequence[Any]) -> list[Any]:
        self._left_out = self._invariant if self._invariants.are_left_out else frozenset()
        self._residency.begin(self.program.kept_buffers if self._left_out else ())
        self.copies, self.binding.places = [], dict(self.places)
        self.binding.copies_out.clear()
        outputs = super()._begin(arrays)
        for (_, buffer, _), array in zip(self._input_buffers, arrays, strict=True):
            if id(array) in self.places:
                self._residency.written((buffer,), AT_DEVICE)
        return outputs

    def _make_outputs(self, outputs: list[Any], specs: list[Output]) -> None:
        """Make arrays of the host, and on the GPU those that stay there."""
        others = []
        for spec in specs:
            index, buffer, shape, dtype = spec
            if index not in self._kept.targets:
                others.append(spec)
                continue
            # What stands for it on the host is not touched unless a step there writes it.
            stands = allocated(shape, dtype, "an output")
            place, self._kept.arrays[index] = self._kept.make(index, shape, np.dtype(dtype))
            self.binding.places[id(stands)] = place
            self.binding.attach(buffer, stands)
            outputs[index] = stands
        super()._make_outputs(outputs, others)

    def _run_steps(self, first: int, last: int) -> int:
        """Run some steps; returns the step that comes next, which one may name itself."""
        step = first
        if self._repeated is not None:  # all inputs are copied first: then it is one graph
            self._to_device(self._residency.missing(self._repeated.inputs, AT_DEVICE))
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
        start = self._driver.mark() if self._times is not None else None
        binding.queue(first, end, self._left_out)
        if self._times is not None:
            self._marks.append((first, start, self._driver.mark()))
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
            for step, start, end in self._marks:
                ticks[step] += self._driver.nanoseconds(start, end)
        finally:
            self._times = None
            self._marks.clear()

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
            size = binding.size_of(buffer)
            copy = Copy(int(binding.device_bases[buffer]), binding.host_address(buffer), size)
            start = time.perf_counter_ns()
            if size:
                self._driver.to_device(copy, follows=not binding.is_input(buffer))
            took = time.perf_counter_ns() - start
            self.copies.append(Copied("ToDevice", buffer, size, took))

    def _to_host(self, buffers: Sequence[int]) -> None:
        """Copy buffers to the host, if no step has failed whose results they may be."""
        if not buffers:
            return
        binding, copies = self.binding, []
        for buffer in buffers:
            target, source = binding.host_address(buffer), int(binding.device_bases[buffer])
            copies.append((buffer, Copy(target, source, binding.size_of(buffer))))
        self._copy_to_host([each for each in copies if each[1].size])

    def _check(self) -> None:
        """Raise the error of a step that has failed on the GPU, if one has."""
        words = self.binding.status_words
        if words.tobytes() != self._no_errors:
            step = int(np.flatnonzero(words)[0])
            self._status[STATUS_ERROR], self._status[STATUS_STEP] = words[step], step
            words[:] = 0
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
        ports, left = self.program.outputs, self._kept.arrays
        self._to_device(self._residency.missing(self._caches, AT_DEVICE))
        self._bring([port.tensor for i, port in enumerate(ports) if i not in left])
        buffers = tuple(self.program.tensors[ports[index].tensor].buffer for index in left)
        self._to_device(self._residency.missing(buffers, AT_DEVICE))
        for copy in self.binding.copies_out:
            self._driver.move(*copy)
        if self.waits or len(left) < len(ports):
            self._driver.synchronize()
            self._check()
        else:
            self._hold((dict(self.binding.owners), self.places))
            self._is_running = True
        results = super()._collect(outputs)
        for index in self._kept.targets:
            if index not in left:  # it is a view of something, or the host has made it
                self._kept.copy(index, results[index])
            results[index] = left[index]
        return results
