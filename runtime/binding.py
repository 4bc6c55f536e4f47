"""Binding of a program to actual sizes: evaluates them, plans the arena, fills in the records.

All of it is compiled code, and done again only when an input's shape changes.
"""

from __future__ import annotations

from array import array as array_of
from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument
from ..kernels.abi import (
    ALIGNMENT,
    ARENA,
    BUFFER_KIND,
    BUFFER_PHASE,
    EVALUATE,
    FILL,
    HOST,
    JOB_ITSELF,
    OUTPUT,
    PLAN,
    PLAN_PHASE,
    RUN,
    SCHEDULE,
    STATUS_WORDS,
    STEP_RECORD,
    WEIGHTS,
)
from ..kernels.compiler import builtin, data_pointer_offset, signal_poll
from ..kernels.record import address_of, make_record
from .arguments import Shapes
from .executable import Executable
from .memory import new_arena, prefault
from .program import TensorSpec

# About 50 ms at the speeds of time stamp counters: how long Ctrl-C may go unnoticed.
_BUDGET_CYCLES = 150_000_000
_MOST_ELEMENTS = 2.0**46
_WORD = 8


Output: TypeAlias = tuple[int, int, tuple[int, ...], str]
"""Index of an output, its buffer, shape and type."""


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


class Binding:
    """The tables of one run at a time; see the module's text.

    Parameters
    ----------
    executable : Executable
    threads : int
        Size of the team that walks the steps.

    Attributes
    ----------
    program : Program
    shapes : Shapes, optional
        Of the inputs, None as long as nothing is bound.
    outputs : list of Output
        Those whose sizes follow from the inputs' shapes.
    is_plain : bool
        There is no host step: a run is one call of compiled code.
    run : callable
        Walks the steps of ``job`` without arguments; returns the step reached, -1 after an error.
    job : ndarray of int64
        Argument record of ``run``: words ``JOB_...`` of ``kernels.abi``.
    status : ndarray of int64
        What a run reports and is told: words ``STATUS_...``.
    array_ids : array of int64
        Addresses of the array objects of inputs and outputs, in which ``run`` finds their data if
        the program is plain. No ndarray, whose elements are set in twice the time.
    steps : ndarray of int64
        Table of the steps: columns ``STEP_...``.
    bases : ndarray of int64
        Address of each buffer.
    arenas : list of ndarray
        Working memory of each phase.
    objects : dict of int to object
        Values of buffers that lie with the host: results of host steps, and inputs that are no
        plain tensors.
    """

    def __init__(self, executable: Executable, threads: int) -> None:
        program = executable.program
        self.program = program
        self.shapes: Shapes | None = None
        self.outputs: list[Output] = []
        self.is_plain = not program.host_steps
        self.status = np.zeros(STATUS_WORDS, np.int64)
        self.bases = np.zeros(max(len(program.buffers), 1), np.int64)
        self.arenas: list[np.ndarray] = [np.empty(0, np.uint8)] * executable.phases
        self.objects: dict[int, Any] = {}
        self._executable = executable
        self._kinds = program.buffers[:, BUFFER_KIND]
        phases = program.buffers[:, BUFFER_PHASE]
        self._arena_members = [
            np.flatnonzero((self._kinds == ARENA) & (phases == phase))
            for phase in range(executable.phases)
        ]
        weights = address_of(program.weights) if program.weights.size else 0
        self.bases[: len(self._kinds)][self._kinds == WEIGHTS] = weights
        self._values = np.zeros(len(program.code) + 1, np.int64)
        self._values[-1] = 1  # what rows of ``executable.sizes`` are filled up with
        self._symbols = np.zeros(max(len(program.symbols), 1), np.int64)
        if "threads" in program.symbols:
            self._symbols[program.symbols.index("threads")] = threads
        self._words = executable.words.copy()
        self.steps = executable.steps.copy()
        self.steps[:, STEP_RECORD] = address_of(self._words) + _WORD * self.steps[:, STEP_RECORD]
        self._make_records()
        self._make_job(threads)

    def _make_records(self) -> None:
        """Build the argument records of the kernels that bind."""
        program, executable = self.program, self._executable
        self._evaluate_record = make_record(
            EVALUATE,
            code=program.code,
            count=len(program.code),
            symbols=self._symbols,
            values=self._values,
        )
        count = len(program.buffers)
        self._offsets = np.zeros_like(self.bases)
        self._order = np.zeros(2 * count, np.int64)
        self._planned_bytes = np.zeros(1, np.int64)
        self._plan_record = make_record(
            PLAN,
            buffers=program.buffers,
            count=count,
            values=self._values,
            phase=0,
            offsets=self._offsets,
            order=self._order,
            total=self._planned_bytes,
        )
        self._fill_record = make_record(
            FILL,
            patches=executable.bind_patches,
            count=len(executable.bind_patches),
            values=self._values,
            bases=self.bases,
            words=self._words,
        )
        self._schedule_record = make_record(
            SCHEDULE,
            costs=executable.costs,
            count=len(executable.costs),
            values=self._values,
            steps=self.steps,
        )

    def _make_job(self, threads: int) -> None:
        """Build the argument record of a run, and the function that runs on it."""
        program, executable = self.program, self._executable
        ports = [*program.inputs, *program.outputs]
        buffers = [program.tensors[port.tensor].buffer for port in ports]
        self._array_buffers = np.array(buffers if self.is_plain else [], np.int64)
        self.array_ids = array_of("q", [0] * len(buffers))
        record = make_record(
            RUN,
            steps=self.steps,
            first=0,
            last=len(program.steps),
            team=0,
            status=self.status,
            budget=_BUDGET_CYCLES,
            times=0,
            flush=program.metadata.get("precision") != "strict",
            job=0,
            patches=executable.run_patches,
            count=len(executable.run_patches),
            values=self._values,
            bases=self.bases,
            words=self._words,
            threads=threads,
            arrays=self.array_ids.buffer_info()[0],
            array_buffers=self._array_buffers,
            array_count=len(self._array_buffers),
            data_pointer=data_pointer_offset(),
            poll=signal_poll(),
        )
        self.job = np.append(record, 0)  # one word more, which ``builtin`` sets
        self.job[JOB_ITSELF] = address_of(self.job)
        self.run = builtin(executable.run, self.job)

    # --- sizes --------------------------------------------------------------------------------

    def bind(self, shapes: Shapes) -> None:
        """Bind to the shapes of all inputs.

        Raises
        ------
        InvalidArgument
            Two inputs disagree on a named dimension, or sizes do not fit an operator.
        KernelError
            There is no memory for the arena.
        """
        self.shapes = None
        self.define(
            (symbol, size)
            for port, shape in zip(self.program.inputs, shapes, strict=True)
            if port.dtype != "object"
            for size, symbol in zip(shape, port.symbols, strict=False)
            if symbol >= 0
        )
        self.outputs = self.enter(0)
        self.shapes = shapes

    def define(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Give symbols their sizes, pairs of index and size; evaluate what follows from them."""
        for symbol, size in sizes:
            self._symbols[symbol] = size
        self._executable.evaluate(address_of(self._evaluate_record))

    def enter(self, phase: int) -> list[Output]:
        """Plan the memory of a phase, whose sizes are defined; returns its outputs as ``outputs``.

        Raises
        ------
        InvalidArgument
            Sizes do not fit an operator.
        KernelError
            There is no memory for the arena.
        """
        self._check(phase)
        self._check_sizes(phase)
        self._plan(phase)
        return self._outputs_of(phase)

    def _check(self, phase: int) -> None:
        for check in self.program.checks:
            if check.phase != phase:
                continue
            left, right = self.value(check.left), self.value(check.right)
            if left != right and not (check.broadcast and left == 1):
                raise InvalidArgument(f"{check.message}: {left} and {right}")

    def _check_sizes(self, phase: int) -> None:
        """Refuse sizes below zero, and tensors beyond what 64-bit arithmetic on bytes can hold."""
        tensors, slots = self._executable.sizes[phase]
        sizes = self._values[slots]
        negative = (sizes < 0).any(1)
        wrong = negative | (sizes.astype(np.float64).prod(1) > _MOST_ELEMENTS)
        if not wrong.any():
            return
        row = int(np.flatnonzero(wrong)[0])
        index = int(tensors[row])
        writer = next((step for step in self.program.steps if index in step.outputs), None)
        node = "" if writer is None else f"node {writer.name!r} ({writer.op_type}): "
        reason = "a negative size" if negative[row] else f"more than {_MOST_ELEMENTS:.0f} elements"
        inputs = {
            port.name: list(self.shape(port.tensor))
            for port in self.program.inputs
            if port.dims is not None
        }
        raise InvalidArgument(
            f"{node}the shape {list(self.shape(index))} of {self.program.tensors[index].name!r} "
            f"has {reason}; the inputs have the shapes {inputs}"
        )

    def _plan(self, phase: int) -> None:
        self._plan_record[PLAN_PHASE] = phase
        self._executable.plan(address_of(self._plan_record))
        # Room for the first buffer to be aligned.
        size = int(self._planned_bytes[0]) + ALIGNMENT
        if self.arenas[phase].nbytes < size:
            # Freed first: the old arena and the new one never exist together.
            self.arenas[phase] = np.empty(0, np.uint8)
            self.arenas[phase] = new_arena(size)
        members = self._arena_members[phase]
        start = -(-address_of(self.arenas[phase]) // ALIGNMENT) * ALIGNMENT
        self.bases[members] = self._offsets[members] + start
        self.fill()
        self._executable.schedule(address_of(self._schedule_record))

    def _outputs_of(self, phase: int) -> list[Output]:
        outputs = []
        for index, port in enumerate(self.program.outputs):
            spec = self.program.tensors[port.tensor]
            buffer = self.program.buffers[spec.buffer]
            if buffer[BUFFER_KIND] == OUTPUT and buffer[BUFFER_PHASE] == phase:
                outputs.append((index, spec.buffer, self.shape(port.tensor), spec.dtype))
        return outputs

    def value(self, slot: int) -> int:
        """Value of a size, as bound."""
        return int(self._values[slot])

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor, as bound."""
        return tuple(int(self._values[slot]) for slot in self.program.tensors[index].shape)

    # --- memory -------------------------------------------------------------------------------

    def attach(self, buffer: int, value: Any) -> None:
        """Let a buffer be the memory of an array of this run, or stand for a Python object."""
        if isinstance(value, np.ndarray) and not value.dtype.hasobject:
            self.bases[buffer] = address_of(value)
        if self._kinds[buffer] == HOST:
            self.objects[buffer] = value

    def fill(self) -> None:
        """Write sizes and addresses, as they are now, into the records of the steps."""
        self._executable.fill(address_of(self._fill_record))

    @property
    def arena_bytes(self) -> int:
        """Bytes of working memory held."""
        return sum(arena.nbytes for arena in self.arenas)

    def prefault(self) -> None:
        """Map the pages of the working memory, which the first run would do one by one."""
        for arena in self.arenas:
            prefault(arena, writable=True)

    def view(self, index: int) -> Any:
        """Return a tensor as an array over its memory (valid until the next run), or an object."""
        spec: TensorSpec = self.program.tensors[index]
        if self._kinds[spec.buffer] == HOST and spec.dtype == "object":
            return self.objects.get(spec.buffer)
        dtype = np.dtype(spec.dtype)
        shape = self.shape(index)
        steps = tuple(self.value(slot) * dtype.itemsize for slot in spec.strides)
        address = int(self.bases[spec.buffer]) + self.value(spec.offset)
        if 0 in shape or not address:
            return np.empty(shape, dtype)
        return np.asarray(_Memory(address, shape, dtype, steps))
