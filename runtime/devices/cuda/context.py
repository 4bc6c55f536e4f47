"""Context of a run on a GPU: its steps are queued there, those without a kernel run on the CPU.

Where contents of buffers are is followed step by step, and copies are made where one needs them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....errors import InvalidArgument, KernelError
from ....kernels.abi import BUFFER_KIND, OUTPUT, STATUS_ERROR, STATUS_STEP
from ....kernels.record import address_of
from ...binding import Output
from ...executable import Executable
from ...executor import Context
from ...memory import allocated
from ...program import Program, Reading
from ..copied import Copied
from .arrays import Place
from .binding import CudaBinding
from .device_array import DeviceArray
from .driver import Copy, Driver
from .output_memory import OutputMemory
from .ready import ReadyProgram
from .repeated import RepeatedRuns
from .residency import AT_DEVICE, AT_HOST, NO_USES, Residency

_CONTROL = "kernels.cpu.control"
"""Module of kernels that let a run go on at another step."""


class Target(NamedTuple):
    """An array of the caller that an output is written into: its place, shape and type."""

    place: Place
    array: Any
    shape: tuple[int, ...]
    dtype: np.dtype


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
    targets : mapping of int to Target or None
        Outputs of the next run that stay on the GPU, by their numbers; None for one that has no
        array yet.
    waits : bool
        Whether the next run waits until the GPU has done all of it.
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
        self._driver, self._ready, self._memory = driver, ready, memory
        self.places: Mapping[int, Place] = {}
        self.targets: Mapping[int, Target | None] = {}
        self.waits, self._is_running = True, False
        self._left: dict[int, Any] = {}  # outputs of a run that stay on the GPU
        self._held: list[Any] = []  # what a run uses that nobody has waited for
        self._residency = Residency(executable.program)
        kernels = executable.program.kernels
        self._jumps = [kernels[s.kernel].module == _CONTROL for s in executable.program.steps]
        self._invariant = frozenset(executable.program.invariant_steps)
        self._left_out: frozenset[int] = frozenset()
        self._times: np.ndarray | None = None
        self._marks: list[tuple[int, Any, Any]] = []  # step, and marks around it
        self._traces = False
        super().__init__(executable, threads)
        self._repeated: RepeatedRuns | None = None
        if executable.has_array_ports and all(ready.is_on_device) and _outputs_apart(self.program):
            self._repeated = RepeatedRuns(self.program, self.binding)

    def _new_binding(self, executable: Executable, threads: int) -> CudaBinding:
        ready = self._ready
        return CudaBinding(
            executable, threads, self._driver, ready.kernels, ready.loaded, ready.weights
        )

    @property
    def nanoseconds_per_tick(self) -> float:
        """Length of a tick of what `run` writes."""
        return 1.0

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
            self._left = {}
        if self._repeated is not None and ticks is None:
            self._repeated.note(self._left_out)
        return outputs

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

    def _run_again(self, repeated: RepeatedRuns, arrays: Sequence[Any]) -> list[Any] | None:
        """Run as before, with arrays that lie where they did; None if there was no such run."""
        outputs: list[Any] = [None] * len(self.program.outputs)
        written: dict[int, Place] = {}
        for index in self.targets:
            _, _, shape, dtype = self.binding.outputs[index]
            written[index], outputs[index] = self._target(index, shape, np.dtype(dtype))
        self._left_out = self._invariant if self._invariants.are_left_out else frozenset()
        found = repeated.find(arrays, self.places, written, self._left_out)
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
            self._is_running = True
            self._held.append((arrays, self.places, outputs))
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
            if index not in self.targets:
                others.append(spec)
                continue
            # What stands for it on the host is not touched unless a step there writes it.
            stands = allocated(shape, dtype, "an output")
            place, self._left[index] = self._target(index, shape, np.dtype(dtype))
            self.binding.places[id(stands)] = place
            self.binding.attach(buffer, stands)
            outputs[index] = stands
        super()._make_outputs(outputs, others)

    def _target(self, index: int, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Place, Any]:
        """Return where an output goes that stays on the GPU, and the array that the caller gets."""
        target = self.targets[index]
        if target is None:
            block = self._memory.lend(int(np.prod(shape, dtype=object)) * dtype.itemsize)
            array = DeviceArray(self._driver, block, shape, dtype)
            return Place(array.address, array), array
        if (target.shape, target.dtype) != (shape, dtype):
            name = self.program.outputs[index].name
            raise InvalidArgument(
                f"output {name!r} is {dtype.name} of shape {shape}, the array that is bound to it "
                f"is {target.dtype.name} of shape {target.shape}"
            )
        return target.place, target.array

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
        if words.any():
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
        ports = self.program.outputs
        self._bring([port.tensor for i, port in enumerate(ports) if i not in self._left])
        left = [self.program.tensors[ports[i].tensor].buffer for i in self._left]
        self._to_device(self._residency.missing(tuple(left), AT_DEVICE))
        for copy in self.binding.copies_out:
            self._driver.move(*copy)
        if self.waits or len(self._left) < len(ports):
            self._driver.synchronize()
            self._check()
        else:
            self._is_running = True
            self._held.append((dict(self.binding.owners), self.places, self._left))
        results = super()._collect(outputs)
        for index in self.targets:
            if index not in self._left:  # it is a view of something, or the host has made it
                self._put(index, results[index])
            results[index] = self._left[index]
        return results

    def _put(self, index: int, value: Any) -> None:
        """Copy an output to where it is to stay."""
        if not isinstance(value, np.ndarray) or value.dtype == object:
            name = self.program.outputs[index].name
            raise InvalidArgument(f"output {name!r} is no array of numbers: bind it to the CPU")
        place, self._left[index] = self._target(index, value.shape, value.dtype)
        value = np.ascontiguousarray(value)
        if value.nbytes:
            self._driver.to_device(Copy(place.address, address_of(value), value.nbytes))


def _outputs_apart(program: Program) -> bool:
    """Tell whether each output has memory of its own."""
    buffers = [program.tensors[port.tensor].buffer for port in program.outputs]
    kinds = program.buffers[buffers, BUFFER_KIND] if buffers else np.empty(0)
    return len(set(buffers)) == len(buffers) and bool((kinds == OUTPUT).all())
