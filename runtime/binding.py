"""Binds a program to actual sizes: evaluates them, plans the arena, fills the argument records.

All of it is compiled code, and done again only when an input's shape changes.
"""

from __future__ import annotations

from array import array as words_of
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..kernels.compiler import builtin, data_pointer_offset
from .executable import Executable
from .memory import new_arena, prefault
from .program import ARENA, HOST, OUTPUT, WEIGHTS, Port, TensorSpec

# About 50 ms at the speeds of time stamp counters: how long Ctrl-C may go unnoticed.
_BUDGET_CYCLES = 150_000_000
_MOST_ELEMENTS = 2.0**46


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


def address_of(array: np.ndarray) -> int:
    """Address of an array's data."""
    return int(array.__array_interface__["data"][0])


class Binding:
    """The tables of one run at a time; see the module's text.

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
        self._values = np.zeros(len(program.code) + 1, np.int64)
        self._values[-1] = 1  # what `_size_table` fills up with
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
        self._output_specs: list[Any] = []
        self._constant_bases()
        self._records()

    def _constant_bases(self) -> None:
        kinds = self.program.buffers[:, 0]
        self._kinds = kinds
        self._bases[: len(kinds)][kinds == WEIGHTS] = (
            address_of(self.program.weights) if self.program.weights.size else 0
        )
        self._input_buffers = [self.program.tensors[p.tensor].buffer for p in self.program.inputs]
        self._arena_members = [
            np.flatnonzero((kinds == ARENA) & (self.program.buffers[:, 4] == phase))
            for phase in range(self.executable.phases)
        ]

    def _records(self) -> None:
        program, executable = self.program, self.executable
        base = address_of(self._words)
        self._steps = executable.steps.copy()
        self._steps[:, 1] = base + 8 * self._steps[:, 1]
        words = address_of(self._words)
        values, bases = address_of(self._values), address_of(self._bases)
        self._evaluate_record = np.array(
            [address_of(program.code), len(program.code), address_of(self._symbols), values],
            np.int64,
        )
        patches = executable.bind_patches
        self._fill_record = np.array(
            [address_of(patches), len(patches), values, bases, words], np.int64
        )
        self._plan_record = np.array(
            [
                address_of(program.buffers),
                len(program.buffers),
                values,
                0,
                address_of(self._offsets),
                address_of(self._scratch),
                address_of(self._scratch) + 16 * len(program.buffers),
            ],
            np.int64,
        )
        costs = executable.costs
        self._schedule_record = np.array(
            [address_of(costs), len(costs), values, address_of(self._steps)], np.int64
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
                address_of(self._steps), 0, len(program.steps), 0, address_of(self._status),
                _BUDGET_CYCLES, 0, 0, address_of(patches), len(patches), values, bases, words,
                self.threads, self._array_ids.buffer_info()[0], address_of(self._array_buffers),
                len(self._array_buffers), data_pointer_offset(), 0,
            ],
            np.int64,
        )  # fmt: skip
        job[7] = address_of(job)
        self._job = job
        self._native_run = builtin(executable.run, job)

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
        self._check_sizes(0)
        self._plan(0)
        self._output_specs = self._outputs_of(0)
        self.shapes = shapes

    def _evaluate(self) -> None:
        self.executable.evaluate(address_of(self._evaluate_record), 0, 1)

    def _check(self, phase: int) -> None:
        for check in self.program.checks:
            if check.phase != phase:
                continue
            left, right = self._values[check.left], self._values[check.right]
            if left != right and not (check.broadcast and left == 1):
                raise InvalidArgument(f"{check.message}: {left} and {right}")

    def _check_sizes(self, phase: int) -> None:
        """Refuse sizes below zero, and tensors beyond what 64-bit arithmetic on bytes can hold."""
        tensors, slots = self.executable.sizes[phase]
        sizes = self._values[slots]
        wrong = (sizes < 0).any(1) | (sizes.astype(np.float64).prod(1) > _MOST_ELEMENTS)
        if not wrong.any():
            return
        index = int(tensors[np.flatnonzero(wrong)[0]])
        spec = self.program.tensors[index]
        made = next((step for step in self.program.steps if index in step.outputs), None)
        shape = [int(self._values[slot]) for slot in spec.shape]
        where = "" if made is None else f"node {made.name!r} ({made.op_type}): "
        given = {p.name: self._given_shape(p) for p in self.program.inputs if p.dims is not None}
        raise InvalidArgument(
            f"{where}{spec.name!r} would have the shape {shape}, which cannot be; "
            f"the inputs have the shapes {given}"
        )

    def _given_shape(self, port: Port) -> list[int]:
        return [int(self._values[slot]) for slot in self.program.tensors[port.tensor].shape]

    def _plan(self, phase: int) -> None:
        self._plan_record[3] = phase
        self.executable.plan(address_of(self._plan_record), 0, 1)
        size = int(self._scratch[2 * len(self.program.buffers)])
        # Room for the first buffer to begin at a cache line.
        if self._arenas[phase].nbytes < size + 64:
            # Freed first: the old arena and the new one never exist together.
            self._arenas[phase] = np.empty(0, np.uint8)
            self._arenas[phase] = new_arena(size + 64)
        members = self._arena_members[phase]
        start = -(-address_of(self._arenas[phase]) // 64) * 64
        self._bases[members] = self._offsets[members] + start
        self._fill()
        self.executable.schedule(address_of(self._schedule_record), 0, 1)

    def _fill(self) -> None:
        self.executable.fill(address_of(self._fill_record), 0, 1)

    def value(self, slot: int) -> int:
        """Value of a size, as bound."""
        return int(self._values[slot])

    @property
    def arena_bytes(self) -> int:
        """Bytes of working memory held."""
        return sum(arena.nbytes for arena in self._arenas)

    def prefault(self) -> None:
        """Map the pages of the working memory, which the first run would do one by one."""
        for arena in self._arenas:
            prefault(arena, writable=True)

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
