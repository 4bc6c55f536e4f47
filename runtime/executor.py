"""Runs a bound program: stretches of compiled steps, and host steps between them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import KernelError
from ..kernels.registry import ERRORS
from . import team as teams
from .binding import Binding, address_of
from .executable import Executable
from .memory import allocated
from .program import HOST, HostStep

_empty = np.empty


def _own(result: Any, inputs: Sequence[Any]) -> Any:
    """Copy a result that is a view of an input: the input's memory will be used again."""
    if isinstance(result, np.ndarray):
        for array in inputs:
            if isinstance(array, np.ndarray) and np.may_share_memory(result, array):
                return result.copy()
    return result


class Context(Binding):
    """What one run at a time needs for itself: a binding, and how far the run has come."""

    def __init__(self, executable: Executable, threads: int) -> None:
        super().__init__(executable, threads)
        self.host_ns = np.zeros(len(self.program.host_steps), np.int64)
        self._arrays: Sequence[np.ndarray] = ()
        self._phase = 0
        self._bounds = (0, len(self.program.steps))
        self._team_address = 0

    def run(self, arrays: Sequence[np.ndarray], times: np.ndarray | None = None) -> list[Any]:
        """Run with contiguous arrays of the bound dtypes and shapes.

        Parameters
        ----------
        arrays : sequence of ndarray
            One for each input of the program.
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
            self._job[6] = address_of(times)
        try:
            for stretch in self.program.stretches:
                if stretch.first < stretch.last:
                    self._run_steps(stretch.first, stretch.last)
                if stretch.host >= 0:
                    self._run_host(stretch.host, outputs)
        finally:
            self._job[6] = 0
            self._arrays = ()
        return self._collect(outputs)

    def trace(self, arrays: Sequence[np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
        """Run step by step; yields a copy of every tensor a step writes, with its index."""
        outputs = self._begin(arrays)
        for stretch in self.program.stretches:
            for step in range(stretch.first, stretch.last):
                self._run_steps(step, step + 1)
                for tensor in self.program.steps[step].outputs:
                    yield tensor, self.view(tensor).copy()
            if stretch.host >= 0:
                self._run_host(stretch.host, outputs)
                for tensor in self.program.host_steps[stretch.host].outputs:
                    if tensor >= 0 and isinstance(self.view(tensor), np.ndarray):
                        yield tensor, self.view(tensor).copy()

    def cancel(self) -> None:
        """Ask a run in another thread to stop after the step it is in."""
        self._status[3] = 1

    def _begin_plain(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        """Begin a run without host steps, with as little Python as can be."""
        try:
            outputs = [_empty(shape, dtype) for _, _, shape, dtype in self._output_specs]
        except (MemoryError, ValueError):
            outputs = [allocated(s, dtype, "an output") for _, _, s, dtype in self._output_specs]
        ids = self._array_ids
        index = 0
        for value in arrays:
            ids[index] = id(value)
            index += 1
        for value in outputs:
            ids[index] = id(value)
            index += 1
        return outputs

    def _begin(self, arrays: Sequence[np.ndarray]) -> list[Any]:
        self._arrays = arrays
        if self._is_plain:
            return self._begin_plain(arrays)
        for buffer, array in zip(self._input_buffers, arrays, strict=True):
            if self._kinds[buffer] == HOST:
                self._objects[buffer] = array
            else:
                self._bases[buffer] = address_of(array)
        self._phase = 0
        outputs: list[Any] = [None] * len(self.program.outputs)
        self._make_outputs(outputs, self._output_specs)
        return outputs

    def _make_outputs(self, outputs: list[Any], specs: list[Any]) -> None:
        for index, buffer, shape, dtype in specs:
            outputs[index] = array = allocated(shape, dtype, "an output")
            self._bases[buffer] = address_of(array)

    def _collect(self, outputs: list[Any]) -> list[Any]:
        for index, port in enumerate(self.program.outputs):
            if outputs[index] is None:
                outputs[index] = self._host_output(port.tensor)
        if self._objects:
            self._objects.clear()
        return outputs

    def _host_output(self, index: int) -> Any:
        """Result of a host step, or a view of one, as the caller's own."""
        spec = self.program.tensors[index]
        made = self._objects.get(spec.buffer)
        if spec.dtype == "object" or not isinstance(made, np.ndarray):
            return made
        view = self.view(index)
        same = all(getattr(view, of) == getattr(made, of) for of in ("shape", "strides"))
        return made if same and address_of(view) == address_of(made) else np.array(view)

    def _run_steps(self, first: int, last: int) -> None:
        if self.threads == 1:
            self._walk(first, last)
            return
        team = teams.borrow(self.threads)
        try:
            if team.address != self._team_address:
                self._job[3] = self._team_address = team.address
            self._walk(first, last)
        finally:
            teams.give_back(team)

    def _walk(self, first: int, last: int) -> None:
        if (first, last) != self._bounds:
            self._job[1], self._job[2] = self._bounds = first, last
        reached = self._native_run()
        while reached != last:
            # Python looks for signals here, between two calls of compiled code.
            self._raise_if_failed()
            self._job[1] = reached
            self._bounds = (reached, last)
            reached = self._native_run()

    def _raise_if_failed(self) -> None:
        if self._status[0]:
            code, index = int(self._status[0]), int(self._status[1])
            step = self.program.steps[index]
            written = ", ".join(repr(self.program.tensors[t].name) for t in step.outputs)
            raise KernelError(
                f"node {step.name!r} ({step.op_type}), computing {written}: "
                f"{ERRORS.get(code, f'error {code}')}"
            )
        if self._status[3]:
            self._status[3] = 0
            raise KernelError("the run was cancelled")

    # --- host steps ---------------------------------------------------------------------------

    def _run_host(self, index: int, outputs: list[Any]) -> None:
        host: HostStep = self.program.host_steps[index]
        start = time.perf_counter_ns()
        operator = self.executable.host_operator(index)
        inputs = [None if tensor < 0 else self.view(tensor) for tensor in host.inputs]
        captured = {name: self.view(tensor) for name, tensor in host.captured.items()}
        results = operator.run(inputs, captured)
        for tensor, result in zip(host.outputs, results, strict=False):
            if tensor >= 0:
                self._keep(host, tensor, _own(result, inputs))
        for position, axis, symbol in host.defines:
            self._symbols[symbol] = results[position].shape[axis]
        if host.defines:
            self._phase += 1
            self._evaluate()
        self._check_host(host)
        if host.defines:
            self._check(self._phase)
            self._check_sizes(self._phase)
            self._plan(self._phase)
            self._make_outputs(outputs, self._outputs_of(self._phase))
        self._fill()
        self.host_ns[index] = time.perf_counter_ns() - start

    def _keep(self, host: HostStep, tensor: int, result: Any) -> None:
        spec = self.program.tensors[tensor]
        if spec.dtype != "object":
            if not isinstance(result, np.ndarray) or result.ndim != len(spec.shape):
                raise KernelError(
                    f"node {host.name!r} ({host.op_type}) gave {spec.name!r} as a "
                    f"{type(result).__name__} of shape {np.shape(result)}, expected "
                    f"{len(spec.shape)} axes of {spec.dtype}"
                )
            result = np.ascontiguousarray(result, np.dtype(spec.dtype)).reshape(result.shape)
            self._bases[spec.buffer] = address_of(result)
        self._objects[spec.buffer] = result

    def _check_host(self, host: HostStep) -> None:
        """The kernels that follow rely on the shapes that were inferred."""
        for tensor in host.outputs:
            spec = self.program.tensors[tensor]
            if tensor < 0 or spec.dtype == "object":
                continue
            wanted = tuple(int(self._values[slot]) for slot in spec.shape)
            shape = self._objects[spec.buffer].shape
            if shape != wanted:
                raise KernelError(
                    f"node {host.name!r} ({host.op_type}) gave {spec.name!r} the shape {shape}, "
                    f"expected {wanted}"
                )
