"""Context of a run: stretches of compiled steps, and host steps between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import KernelError
from ..kernels.abi import (
    JOB_FIRST,
    JOB_LAST,
    JOB_TEAM,
    JOB_TIMES,
    STATUS_CANCEL,
    STATUS_ERROR,
    STATUS_STEP,
)
from ..kernels.record import address_of
from ..kernels.registry import ERRORS
from . import team as teams
from .binding import Binding, Output
from .executable import Executable
from .memory import allocated
from .program import HostStep

_empty = np.empty


class Context:
    """State of one run at a time: a binding, and the next step of the run.

    Parameters
    ----------
    executable : Executable
    threads : int

    Attributes
    ----------
    program : Program
    binding : Binding
        To be bound to the shapes of the inputs before a run.
    host_ns : ndarray of int64
        Nanoseconds that each host step of the last run took.
    """

    def __init__(self, executable: Executable, threads: int) -> None:
        self.program = executable.program
        self.threads = threads
        self.binding = binding = Binding(executable, threads)
        self.host_ns = np.zeros(len(self.program.host_steps), np.int64)
        self._executable = executable
        # What a binding never replaces, looked up once.
        self._is_plain, self._native_run = binding.is_plain, binding.run
        self._job, self._status, self._ids = binding.job, binding.status, binding.array_ids
        self._phase = 0
        self._bounds = (0, len(self.program.steps))
        self._team_address = 0

    def run(self, arrays: Sequence[Any], times: np.ndarray | None = None) -> list[Any]:
        """Run with contiguous arrays of the bound dtypes and shapes.

        Parameters
        ----------
        arrays : sequence
            One for each input of the program; a Python object for one that is no plain tensor.
        times : ndarray of int64, optional
            Gets the time stamp counter before the first and after each step.

        Returns
        -------
        list
            One array (or Python object) for each output.

        Raises
        ------
        KernelError
            A step failed, or the run was cancelled.
        """
        if self._is_plain and times is None:
            outputs = self._begin_plain(arrays)
            self._run_steps(0, len(self.program.steps))
            return outputs
        outputs = self._begin(arrays)
        if times is not None:
            self._job[JOB_TIMES] = address_of(times)
        try:
            for stretch in self.program.stretches:
                if stretch.first < stretch.last:
                    self._run_steps(stretch.first, stretch.last)
                if stretch.host >= 0:
                    self._run_host(stretch.host, outputs)
        finally:
            self._job[JOB_TIMES] = 0
        return self._collect(outputs)

    def trace(self, arrays: Sequence[Any]) -> Iterator[tuple[int, np.ndarray]]:
        """Run step by step; yields a copy of every tensor a step writes, with its index."""
        view = self.binding.view
        outputs = self._begin(arrays)
        for stretch in self.program.stretches:
            for step in range(stretch.first, stretch.last):
                self._run_steps(step, step + 1)
                for tensor in self.program.steps[step].outputs:
                    yield tensor, view(tensor).copy()
            if stretch.host >= 0:
                self._run_host(stretch.host, outputs)
                for tensor in self.program.host_steps[stretch.host].outputs:
                    if tensor >= 0 and isinstance(view(tensor), np.ndarray):
                        yield tensor, view(tensor).copy()

    def cancel(self) -> None:
        """Ask a run in another thread to stop after the step it is in."""
        self._status[STATUS_CANCEL] = 1

    def _begin_plain(self, arrays: Sequence[Any]) -> list[Any]:
        """Begin a run without host steps, with as little Python as possible."""
        specs = self.binding.outputs
        try:
            outputs = [_empty(shape, dtype) for _, _, shape, dtype in specs]
        except (MemoryError, ValueError):
            outputs = [allocated(shape, dtype, "an output") for _, _, shape, dtype in specs]
        ids = self._ids
        index = 0
        for value in arrays:
            ids[index] = id(value)
            index += 1
        for value in outputs:
            ids[index] = id(value)
            index += 1
        return outputs

    def _begin(self, arrays: Sequence[Any]) -> list[Any]:
        if self._is_plain:
            return self._begin_plain(arrays)
        binding = self.binding
        binding.forget_results()
        for port, array in zip(self.program.inputs, arrays, strict=True):
            binding.attach(self.program.tensors[port.tensor].buffer, array)
        self._phase = 0
        outputs: list[Any] = [None] * len(self.program.outputs)
        self._make_outputs(outputs, binding.outputs)
        return outputs

    def _make_outputs(self, outputs: list[Any], specs: list[Output]) -> None:
        for index, buffer, shape, dtype in specs:
            outputs[index] = allocated(shape, dtype, "an output")
            self.binding.attach(buffer, outputs[index])

    def _collect(self, outputs: list[Any]) -> list[Any]:
        for index, port in enumerate(self.program.outputs):
            if outputs[index] is None:
                outputs[index] = self._host_output(port.tensor)
        self.binding.objects.clear()
        return outputs

    def _host_output(self, index: int) -> Any:
        """Result of a host step, or a view of one, as the caller's own."""
        spec = self.program.tensors[index]
        value = self.binding.objects.get(spec.buffer)
        if spec.dtype == "object" or not isinstance(value, np.ndarray):
            return value
        view = self.binding.view(index)
        same = all(getattr(view, of) == getattr(value, of) for of in ("shape", "strides"))
        return value if same and address_of(view) == address_of(value) else np.array(view)

    def _run_steps(self, first: int, last: int) -> None:
        if self.threads == 1:
            self._walk(first, last)
            return
        team = teams.borrow(self.threads)
        try:
            if team.address != self._team_address:
                self._job[JOB_TEAM] = self._team_address = team.address
            self._walk(first, last)
        finally:
            teams.give_back(team)

    def _walk(self, first: int, last: int) -> None:
        if (first, last) != self._bounds:
            self._job[JOB_FIRST], self._job[JOB_LAST] = self._bounds = first, last
        reached = self._native_run()
        while reached != last:
            # Python looks for signals here, between two calls of compiled code.
            self._raise_if_failed()
            self._job[JOB_FIRST] = reached
            self._bounds = (reached, last)
            reached = self._native_run()

    def _raise_if_failed(self) -> None:
        if code := int(self._status[STATUS_ERROR]):
            step = self.program.steps[int(self._status[STATUS_STEP])]
            written = ", ".join(repr(self.program.tensors[t].name) for t in step.outputs)
            raise KernelError(
                f"node {step.name!r} ({step.op_type}), computing {written}: "
                f"{ERRORS.get(code, f'error {code}')}"
            )
        if self._status[STATUS_CANCEL]:
            self._status[STATUS_CANCEL] = 0
            raise KernelError("the run was cancelled")

    # --- host steps ---------------------------------------------------------------------------

    def _run_host(self, index: int, outputs: list[Any]) -> None:
        binding = self.binding
        host: HostStep = self.program.host_steps[index]
        start = time.perf_counter_ns()
        operator = self._executable.host_operator(index)
        inputs = [None if tensor < 0 else binding.view(tensor) for tensor in host.inputs]
        captured = {name: binding.view(tensor) for name, tensor in host.captured.items()}
        results = operator.run(inputs, captured)
        for tensor, result in zip(host.outputs, results, strict=False):
            if tensor >= 0:
                value = self._checked_result(host, tensor, _own(result, inputs))
                binding.attach(self.program.tensors[tensor].buffer, value)
        if host.defines:
            binding.define((symbol, results[at].shape[axis]) for at, axis, symbol in host.defines)
        self._check_shapes(host)
        if host.defines:
            self._phase += 1
            self._make_outputs(outputs, binding.enter(self._phase))
        binding.fill()
        self.host_ns[index] = time.perf_counter_ns() - start

    def _checked_result(self, host: HostStep, tensor: int, result: Any) -> Any:
        """Return a result of a host step as it is declared."""
        spec = self.program.tensors[tensor]
        if spec.dtype == "object":
            return result
        if not isinstance(result, np.ndarray) or result.ndim != len(spec.shape):
            raise KernelError(
                f"node {host.name!r} ({host.op_type}) gave {spec.name!r} as a "
                f"{type(result).__name__} of shape {np.shape(result)}, expected "
                f"{len(spec.shape)} axes of {spec.dtype}"
            )
        return np.ascontiguousarray(result, np.dtype(spec.dtype)).reshape(result.shape)

    def _check_shapes(self, host: HostStep) -> None:
        """Refuse results of other shapes than were inferred: the kernels that follow rely on them.

        They are compared once the sizes are known that the results themselves define.
        """
        for tensor in host.outputs:
            spec = self.program.tensors[tensor]
            if tensor < 0 or spec.dtype == "object":
                continue
            expected = self.binding.shape(tensor)
            shape = self.binding.objects[spec.buffer].shape
            if shape != expected:
                raise KernelError(
                    f"node {host.name!r} ({host.op_type}) gave {spec.name!r} the shape {shape}, "
                    f"expected {expected}"
                )


def _own(result: Any, inputs: Sequence[Any]) -> Any:
    """Copy a result that is a view of an input: the input's memory will be used again."""
    if isinstance(result, np.ndarray):
        for array in inputs:
            if isinstance(array, np.ndarray) and np.may_share_memory(result, array):
                return result.copy()
    return result
