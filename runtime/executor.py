"""Binds a program to actual sizes and runs it.

A ``Context`` is what one run needs for itself: argument records, arena, and the Python objects
of host steps. Binding evaluates the sizes, plans the arena and fills the records, all in
compiled code; it is done again only when an input's shape changes.
"""

from __future__ import annotations

import time
from array import array as words_of
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .. import InvalidArgument, KernelError
from ..kernels.compiler import builtin, data_pointer_offset, kernel_address, native_function
from ..kernels.registry import ERRORS
from . import team as teams
from .program import (
    ADDRESS,
    ARENA,
    HOST,
    INPUT,
    KERNEL,
    OUTPUT,
    WEIGHTS,
    HostStep,
    Program,
    TensorSpec,
)

# About 50 ms at the speeds of time stamp counters: how long Ctrl-C may go unnoticed.
_BUDGET_CYCLES = 150_000_000


class _Memory:
    """Memory at an address, for numpy's array interface."""

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype, steps: Any) -> None:
        self.__array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "typestr": dtype.str,
            "strides": steps,
            "version": 3,
        }


empty = np.empty


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


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
            [(addresses[step.kernel], step.record) for step in program.steps], np.int64
        ).reshape(-1, 2)
        self.evaluate, self.plan, self.fill = (
            native_function(teams.executor_function(name)) for name in ("evaluate", "plan", "fill")
        )
        self.run = teams.executor_function("run")
        self.phases = 1 + sum(bool(host.defines) for host in program.host_steps)
        self.sizes = [self._sizes_of(phase) for phase in range(self.phases)]
        self.host_operators: list[Any] = [None] * len(program.host_steps)

    def _sizes_of(self, phase: int) -> np.ndarray:
        """Slots of all dimensions that are settled in a phase."""
        phases = self.program.buffers[:, 4]
        slots = {
            slot
            for spec in self.program.tensors
            if phases[spec.buffer] == phase
            for slot in spec.shape
        }
        return np.array(sorted(slots), np.int64)

    def host_operator(self, index: int) -> Any:
        """Return the operator of a host step; the reference implementation loads on first use."""
        if self.host_operators[index] is None:
            from .host import HostOp

            self.host_operators[index] = HostOp.from_bytes(self.program.host_steps[index].operator)
        return self.host_operators[index]


def _own(result: Any, inputs: Sequence[Any]) -> Any:
    """Copy a result that is a view of an input: the input's memory will be used again."""
    if isinstance(result, np.ndarray):
        for array in inputs:
            if isinstance(array, np.ndarray) and np.may_share_memory(result, array):
                return result.copy()
    return result


class Context:
    """The private state of one run at a time; see the module's text.

    Parameters
    ----------
    executable : Executable
    threads : int
        Size of the team that walks the steps.
    """

    def __init__(self, executable: Executable, threads: int) -> None:
        program = executable.program
        self.executable = executable
        self.program = program
        self.threads = threads
        self.shapes: tuple[tuple[int, ...], ...] | None = None
        self._values = np.zeros(max(len(program.code), 1), np.int64)
        self._symbols = np.zeros(max(len(program.symbols), 1), np.int64)
        if "threads" in program.symbols:
            self._symbols[program.symbols.index("threads")] = threads
        self._bases = np.zeros(max(len(program.buffers), 1), np.int64)
        self._offsets = np.zeros_like(self._bases)
        self._words = executable.words.copy()
        self._scratch = np.zeros(2 * len(self._bases) + 1, np.int64)
        self._arenas: list[np.ndarray] = [np.empty(0, np.uint8)] * executable.phases
        self._objects: dict[int, Any] = {}
        self._status = np.zeros(8, np.int64)
        self._arrays: Sequence[np.ndarray] = ()
        self._phase = 0
        self._bounds = (0, len(program.steps))
        self._team_address = 0
        self._output_specs: list[Any] = []
        self.host_ns = np.zeros(len(program.host_steps), np.int64)
        self._constant_bases()
        self._records()

    def _constant_bases(self) -> None:
        kinds = self.program.buffers[:, 0]
        self._kinds = kinds
        self._bases[: len(kinds)][kinds == WEIGHTS] = (
            _address(self.program.weights) if self.program.weights.size else 0
        )
        self._input_buffers = [self.program.tensors[p.tensor].buffer for p in self.program.inputs]
        self._arena_members = [
            np.flatnonzero((kinds == ARENA) & (self.program.buffers[:, 4] == phase))
            for phase in range(self.executable.phases)
        ]

    def _records(self) -> None:
        program, executable = self.program, self.executable
        base = _address(self._words)
        self._steps = executable.steps.copy()
        self._steps[:, 1] = base + 8 * self._steps[:, 1]
        words = _address(self._words)
        values, bases = _address(self._values), _address(self._bases)
        self._evaluate_record = np.array(
            [_address(program.code), len(program.code), _address(self._symbols), values], np.int64
        )
        patches = executable.bind_patches
        self._fill_record = np.array(
            [_address(patches), len(patches), values, bases, words], np.int64
        )
        self._plan_record = np.array(
            [
                _address(program.buffers),
                len(program.buffers),
                values,
                0,
                _address(self._offsets),
                _address(self._scratch),
                _address(self._scratch) + 16 * len(program.buffers),
            ],
            np.int64,
        )
        patches = executable.run_patches
        # Objects of a run's inputs and outputs, for compiled code to find their data.
        plain = not program.host_steps
        buffers = [program.tensors[port.tensor].buffer for port in program.inputs]
        buffers += [program.tensors[port.tensor].buffer for port in program.outputs]
        self._is_plain = plain
        self._array_buffers = np.array(buffers if plain else [], np.int64)
        self._array_ids = words_of("q", [0] * len(buffers))
        job = np.array(
            [
                _address(self._steps), 0, len(program.steps), 0, _address(self._status),
                _BUDGET_CYCLES, 0, 0, _address(patches), len(patches), values, bases, words,
                self.threads, self._array_ids.buffer_info()[0], _address(self._array_buffers),
                len(self._array_buffers), data_pointer_offset(),
            ],
            np.int64,
        )  # fmt: skip
        job[7] = _address(job)
        self._job = job
        self._native_run = builtin(executable.run, job)

    # --- binding ------------------------------------------------------------------------------

    def bind(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        """Bind to the shapes of all inputs.

        Raises
        ------
        InvalidArgument
            Two inputs disagree on a named dimension, or sizes do not fit an operator.
        """
        self.shapes = None
        for port, shape in zip(self.program.inputs, shapes, strict=True):
            if port.dtype == "object":
                continue
            for size, index in zip(shape, port.symbols, strict=False):
                if index >= 0:
                    self._symbols[index] = size
        self._evaluate()
        self._check(0)
        self._plan(0)
        self._output_specs = self._outputs_of(0)
        self.shapes = shapes

    def _evaluate(self) -> None:
        self.executable.evaluate(_address(self._evaluate_record), 0, 1)

    def _check(self, phase: int) -> None:
        for check in self.program.checks:
            if check.phase != phase:
                continue
            left, right = self._values[check.left], self._values[check.right]
            if left != right and not (check.broadcast and left == 1):
                raise InvalidArgument(f"{check.message}: {left} and {right}")
        if (self._values[self.executable.sizes[phase]] < 0).any():
            self._raise_negative(phase)

    def _raise_negative(self, phase: int) -> None:
        """Name the step whose result would have a negative size."""
        for step in self.program.steps:
            for tensor in step.outputs:
                spec = self.program.tensors[tensor]
                shape = tuple(int(self._values[slot]) for slot in spec.shape)
                own_phase = self.program.buffers[spec.buffer, 4]
                if own_phase == phase and min(shape, default=0) < 0:
                    raise InvalidArgument(
                        f"node {step.name!r} ({step.op_type}): the inputs are too small: "
                        f"{spec.name!r} would be of shape {shape}"
                    )
        raise InvalidArgument("the inputs are too small: a value would have a negative size")

    def _plan(self, phase: int) -> None:
        self._plan_record[3] = phase
        self.executable.plan(_address(self._plan_record), 0, 1)
        size = int(self._scratch[2 * len(self.program.buffers)])
        if self._arenas[phase].nbytes < size:
            # Freed first: the old arena and the new one never exist together.
            self._arenas[phase] = np.empty(0, np.uint8)
            self._arenas[phase] = np.empty(size + 64, np.uint8)
        members = self._arena_members[phase]
        start = -(-_address(self._arenas[phase]) // 64) * 64
        self._bases[members] = self._offsets[members] + start
        self._fill()

    def _fill(self) -> None:
        self.executable.fill(_address(self._fill_record), 0, 1)

    def value(self, slot: int) -> int:
        """Value of a size, as bound."""
        return int(self._values[slot])

    @property
    def arena_bytes(self) -> int:
        """Bytes of working memory held."""
        return sum(arena.nbytes for arena in self._arenas)

    # --- running ------------------------------------------------------------------------------

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
            self._job[6] = _address(times)
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
        outputs: list[Any] = [empty(shape, dtype) for _, _, shape, dtype in self._output_specs]
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
                self._bases[buffer] = _address(array)
        self._phase = 0
        outputs: list[Any] = [None] * len(self.program.outputs)
        self._make_outputs(outputs, self._output_specs)
        return outputs

    def _outputs_of(self, phase: int) -> list[tuple[int, int, tuple[int, ...], str]]:
        """Return (index, buffer, shape, dtype) of the outputs whose size a phase settles."""
        found = []
        for index, port in enumerate(self.program.outputs):
            spec = self.program.tensors[port.tensor]
            kind, *_, own_phase = self.program.buffers[spec.buffer]
            if kind == OUTPUT and own_phase == phase:
                shape = tuple(int(self._values[slot]) for slot in spec.shape)
                found.append((index, spec.buffer, shape, spec.dtype))
        return found

    def _make_outputs(self, outputs: list[Any], specs: list[Any]) -> None:
        for index, buffer, shape, dtype in specs:
            outputs[index] = array = np.empty(shape, dtype)
            self._bases[buffer] = _address(array)

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
        return made if view.shape == made.shape else np.array(view)

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

    def view(self, index: int) -> Any:
        """Return a tensor as an array over its memory (valid until the next run), or an object."""
        spec: TensorSpec = self.program.tensors[index]
        if self._kinds[spec.buffer] == HOST and spec.dtype == "object":
            return self._objects.get(spec.buffer)
        dtype = np.dtype(spec.dtype)
        shape = tuple(int(self._values[slot]) for slot in spec.shape)
        steps = tuple(int(self._values[slot]) * dtype.itemsize for slot in spec.strides)
        address = int(self._bases[spec.buffer] + self._values[spec.offset])
        if 0 in shape or not address:
            return np.empty(shape, dtype)
        return np.asarray(_Memory(address, shape, dtype, steps))

    def _run_host(self, index: int, outputs: list[Any]) -> None:
        host: HostStep = self.program.host_steps[index]
        start = time.perf_counter_ns()
        operator = self.executable.host_operator(index)
        inputs = [None if tensor < 0 else self.view(tensor) for tensor in host.inputs]
        captured = {name: self.view(tensor) for name, tensor in host.captured.items()}
        results = operator.run(inputs, captured)
        for tensor, result in zip(host.outputs, results, strict=False):
            if tensor >= 0:
                self._keep(tensor, _own(result, inputs))
        for position, axis, symbol in host.defines:
            self._symbols[symbol] = results[position].shape[axis]
        if host.defines:
            self._phase += 1
            self._evaluate()
            self._check(self._phase)
            self._plan(self._phase)
            self._make_outputs(outputs, self._outputs_of(self._phase))
        self._fill()
        self.host_ns[index] = time.perf_counter_ns() - start

    def _keep(self, tensor: int, result: Any) -> None:
        spec = self.program.tensors[tensor]
        if isinstance(result, np.ndarray) and spec.dtype != "object":
            result = np.ascontiguousarray(result, np.dtype(spec.dtype)).reshape(result.shape)
            self._bases[spec.buffer] = _address(result)
        self._objects[spec.buffer] = result
