"""Binding of a program to actual sizes: evaluates them, plans the arena, fills in the records.

All of it is compiled code, and done again only when an input's shape changes.
"""

from __future__ import annotations

import math
from array import array as array_of
from collections.abc import Iterable
from functools import partial
from typing import TypeAlias

import numpy as np

from ..kernels.abi import (
    ALIGNMENT,
    ARENA,
    BLOCK,
    BUFFER_FIRST,
    BUFFER_KIND,
    BUFFER_LAST,
    BUFFER_PHASE,
    BUFFER_SIZE,
    EVALUATE,
    FILL,
    JOB_ITSELF,
    JOB_RECORD_WORDS,
    OUTPUT,
    PLAN,
    PLAN_BEGIN,
    PLAN_PHASE,
    RUN,
    SCHEDULE,
    STATUS_WORDS,
    STEP_END,
    STEP_KERNEL,
    STEP_RECORD,
    UNKNOWN,
    WEIGHTS,
)
from ..kernels.builtin import builtins_of, known_objects, signal_poll
from ..kernels.machine_costs import machine_costs
from ..kernels.record import address_of, make_record
from .arguments import Shapes
from .blocks import Blocks
from .bound_tensors import BoundTensors
from .cache_room import CacheRoom
from .executable import Executable
from .invariants import InvariantSteps
from .memory import keep_at_hand, new_arena
from .port_rows import PortRows
from .program import Program
from .symbolic import CAPACITY, THREADS

# About 50 ms at the speeds of time stamp counters: how long Ctrl-C may go unnoticed.
_BUDGET_CYCLES = 150_000_000
_WORD = 8


Output: TypeAlias = tuple[int, int, tuple[int, ...], str]
"""Index of an output, its buffer, shape and type."""


class Binding(BoundTensors):
    """The tables of one run at a time; see the module's text.

    Parameters
    ----------
    executable : Executable
    threads : int
        Size of the team that walks the steps.

    Attributes
    ----------
    shapes : Shapes, optional
        Of the inputs, None as long as nothing is bound.
    outputs : list of Output
        Those whose sizes follow from the inputs' shapes.
    is_plain : bool
        There is no host step and no reading, and all inputs and outputs are arrays of their own: a
        run is one call of compiled code.
    is_alone : bool
        No step, of the sizes that are bound, is shared by several threads.
    walk : callable
        Walks the steps of ``job`` without arguments; returns the step reached, ``CALL_FAILED``
        after an error.
    call : callable
        Runs a plain program with a dictionary of arrays; returns the results, ``CALL_FAILED``, or
        ``CALL_DIFFERS`` if the arrays are not as `expect` has said, and nothing was done.
    job : ndarray of int64
        Argument record of ``walk``: words ``JOB_...`` of ``kernels.abi``.
    status : ndarray of int64
        What a run reports and is told: words ``STATUS_...``.
    array_ids : array of int64
        Addresses of the array objects of inputs and outputs, in which ``walk`` finds their data if
        the program is plain. No ndarray, whose elements are set in twice the time.
    steps : ndarray of int64
        Table of the steps: columns ``STEP_...``.
    """

    def __init__(self, executable: Executable, threads: int) -> None:
        program = executable.program
        super().__init__(program)
        self.shapes: Shapes | None = None
        self.outputs: list[Output] = []
        self.is_plain = executable.is_plain
        self.is_alone = False
        self._port_rows = PortRows(program)
        self.array_ids = array_of("q", [0] * (len(program.inputs) + len(program.outputs)))
        self._has_empty = False
        self.status = np.zeros(STATUS_WORDS, np.int64)
        self._executable = executable
        phases = program.buffers[:, BUFFER_PHASE]
        self._arena_members = [
            np.flatnonzero((self._kinds == ARENA) & (phases <= phase))
            for phase in range(executable.phases)
        ]
        # A later phase without buffers of its own leaves the memory as it is.
        self._has_buffers = [
            phase == 0 or bool(((self._kinds == ARENA) & (phases == phase)).any())
            for phase in range(executable.phases)
        ]
        self._ports = _ports_by_phase(program, executable.phases)
        weights = address_of(program.weights) if program.weights.size else 0
        self.bases[: len(self._kinds)][self._kinds == WEIGHTS] = weights
        blocks = self._kinds == BLOCK
        self._blocks = Blocks(int(np.count_nonzero(blocks)))
        self.bases[: len(self._kinds)][blocks] = self._blocks.addresses
        self._values[-1] = 1  # what rows of ``limits`` are filled up with
        self._symbols = np.full(max(len(program.symbols), 1), UNKNOWN, np.int64)
        self._symbols_after = program.symbols_after()
        self._places_of_symbols = program.places_of_symbols()
        self._capacity_symbol = -1
        if CAPACITY in program.symbols:
            self._capacity_symbol = program.symbols.index(CAPACITY)
        if THREADS in program.symbols:
            self._symbols[program.symbols.index(THREADS)] = threads
        self._words = executable.words.copy()
        self.steps = executable.steps.copy()
        self._records = address_of(self._words) + _WORD * self.steps[:, STEP_RECORD]
        self.steps[:, STEP_RECORD] = self._records
        self.invariants = InvariantSteps(program, self.steps)
        self._outputs: list[list[Output]] = [[] for _ in range(executable.phases)]
        self._entered = 0  # phases whose memory is planned for the sizes as they are
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
        self._room: CacheRoom | None = None
        if self._capacity_symbol >= 0 and executable.phases == 1:
            evaluate = partial(executable.evaluate, address_of(self._evaluate_record))
            self._room = CacheRoom(program, self._symbols, self._values, evaluate)
        count = len(program.buffers)
        self._offsets = np.zeros_like(self.bases)
        self._order = np.zeros(2 * count, np.int64)
        self._planned_bytes = np.zeros(1, np.int64)
        self._plan_record = make_record(
            PLAN,
            buffers=self.invariants.buffers,
            count=count,
            values=self._values if self._room is None else self._room.planned,
            phase=0,
            begin=-1,
            offsets=self._offsets,
            order=self._order,
            total=self._planned_bytes,
        )
        self._fill_record = self._make_fill_record(executable.bind_patches)
        self._host_records = [self._make_fill_record(part) for part in executable.host_patches]
        self._host_addresses = [
            address_of(record) if len(part) else 0
            for record, part in zip(self._host_records, executable.host_patches, strict=True)
        ]
        # With nothing to fill in, that kernel does nothing.
        self._idle_record = make_record(FILL, patches=0, count=0, values=0, bases=0, words=0)
        self._schedule_record = make_record(
            SCHEDULE,
            costs=executable.costs,
            count=len(executable.costs),
            values=self._values,
            steps=self.steps,
            **machine_costs().sharing._asdict(),
        )
        calls = (
            (executable.evaluate, self._evaluate_record), (executable.plan, self._plan_record),
            (executable.fill, self._fill_record), (executable.schedule, self._schedule_record),
        )  # fmt: skip
        self._evaluate, self._plan_buffers, self._fill, self._schedule = (
            partial(call, address_of(record)) for call, record in calls
        )

    def planned_buffers(self) -> list[tuple[int, int, int, int, int]]:
        """Return the plan of the arena: buffer, offset and size in bytes, first and last step.

        Buffers of no bytes, and those that no step uses, are left out.
        """
        table, most = self.invariants.buffers, len(self.program.steps) - 1
        plan = []
        for buffer in np.flatnonzero(self._kinds == ARENA):
            size = self.value(int(table[buffer, BUFFER_SIZE]))
            first, last = (int(table[buffer, column]) for column in (BUFFER_FIRST, BUFFER_LAST))
            if size > 0 and first <= last:
                plan.append((int(buffer), int(self._offsets[buffer]), size, first, min(last, most)))
        return plan

    def _make_fill_record(self, patches: np.ndarray) -> np.ndarray:
        return make_record(
            FILL,
            patches=patches,
            count=len(patches),
            values=self._values,
            bases=self.bases,
            words=self._words,
        )

    def _make_job(self, threads: int) -> None:
        """Build the argument record of a run, and the function that runs on it."""
        program, executable = self.program, self._executable
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
            threads=threads,
            poll=signal_poll(),
            busy=0,
            patches=executable.run_patches,
            patch_count=len(executable.run_patches),
            values=self._values,
            bases=self.bases,
            words=self._words,
            arrays=self.array_ids.buffer_info()[0],
            ports=self._port_rows.table,
            inputs=len(program.inputs) if self.is_plain else 0,
            outputs=len(program.outputs) if self.is_plain else 0,
            feeds=0,
            objects=known_objects(),
        )
        self.job = np.append(record, 0)
        assert len(record) == JOB_RECORD_WORDS
        self.job[JOB_ITSELF] = address_of(self.job)
        self.walk, self.call = builtins_of(executable.run, self.job)

    # --- sizes --------------------------------------------------------------------------------

    def bind(self, shapes: Shapes, capacity: int = 0) -> None:
        """Bind to the shapes of all inputs.

        Parameters
        ----------
        shapes : Shapes
        capacity : int
            Length up to which caches have memory.

        Raises
        ------
        InvalidArgument
            Two inputs disagree on a named dimension, or sizes do not fit an operator.
        KernelError
            There is no memory for the arena.
        """
        self.shapes = None
        self._port_rows.forget()
        self._entered = 0
        sizes = [
            (symbol, shapes[port][axis])
            for symbol, (port, axis) in self._places_of_symbols.items()
            if axis < len(shapes[port])
        ]
        if self._capacity_symbol >= 0:
            sizes.append((self._capacity_symbol, capacity))
        self.define(0, sizes)
        self.outputs = self.enter(0)
        self.shapes = shapes

    def expect(self) -> None:
        """Let `call` take arrays of the shapes that are bound."""
        if self.is_plain and self.shapes is not None:
            self._port_rows.expect([*self.shapes, *(shape for _, _, shape, _ in self.outputs)])

    def define(self, phase: int, sizes: Iterable[tuple[int, int]]) -> None:
        """Give the symbols of a phase their sizes, pairs of index and size; evaluate the rest.

        Raises
        ------
        InvalidArgument
            A size is beyond what 64 bits hold.
        """
        for symbol, size in sizes:
            if self._symbols[symbol] != size:
                self._symbols[symbol] = size
                self._entered = min(self._entered, phase)
        if self._entered <= phase:
            # Sizes of another run's results say nothing beside those of this one.
            self._symbols[self._symbols_after[phase]] = UNKNOWN
            self._shapes.clear()
            self._views.clear()
            if self._evaluate():
                self._executable.limits.check_values(self._values)

    def enter(self, phase: int) -> list[Output]:
        """Plan the memory of a phase, whose sizes are defined; returns its outputs as ``outputs``.

        Nothing is to be done where they are the same as in the run before.

        Raises
        ------
        InvalidArgument
            Sizes do not fit an operator.
        KernelError
            There is no memory for the arena.
        """
        if self._entered <= phase:
            has_empty = self._executable.limits.check_phase(self._values, phase)
            had_empty, self._has_empty = (
                self._has_empty,
                has_empty or (phase > 0 and self._has_empty),
            )
            if phase == 0:
                self.invariants.begin(self._values)
            self._plan(phase)
            if had_empty or has_empty:
                self._skip_empty_steps()
            self._outputs[phase] = self._outputs_of(phase)
            self._entered = phase + 1
        return self._outputs[phase]

    def _plan(self, phase: int) -> None:
        if self._has_buffers[phase] and not self._is_planned():
            self._plan_memory(phase)
        self._fill()
        self._schedule()
        self.is_alone = not len(self.steps) or self.steps[0, STEP_END] >= len(self.steps)

    def _is_planned(self) -> bool:
        """Tell whether the memory of a program with caches has room for all sizes."""
        if self._room is None:
            return False
        if self._room.suffices():
            return True
        self._room.extend(int(self._symbols[self._capacity_symbol]))
        return False

    def _plan_memory(self, phase: int) -> None:
        self._plan_record[PLAN_PHASE] = phase
        self._plan_record[PLAN_BEGIN] = self._executable.begins[phase]
        self._plan_buffers()
        # Room for the first buffer to be aligned.
        size = int(self._planned_bytes[0]) + ALIGNMENT
        if self.arena.nbytes < size:
            self._grow(size, has_contents=phase > 0)
        self._place(phase)

    def _place(self, phase: int) -> None:
        """Note where the buffers lie that a phase and those before it have in the arena."""
        members = self._arena_members[phase]
        self.bases[members] = self._offsets[members] + _first_aligned(self.arena)

    def _grow(self, size: int, *, has_contents: bool) -> None:
        """Replace the arena by a larger one; buffers keep their offsets and contents."""
        # Without contents it is freed first: the old arena and the new one never exist together.
        old, self.arena = self.arena, np.empty(0, np.uint8)
        if not has_contents:
            del old
            self.arena = new_arena(size)
            return
        self.arena = new_arena(size)
        buffers, old_buffers = (a[_first_aligned(a) - address_of(a) :] for a in (self.arena, old))
        count = min(len(buffers), len(old_buffers))
        buffers[:count] = old_buffers[:count]

    def leave_out_invariants(self) -> None:
        """Leave steps that follow from sizes alone out of further runs; one has done them."""
        self.invariants.leave_out(self._executable.idle_kernel, address_of(self._idle_record))

    def _skip_empty_steps(self) -> None:
        """Let steps without results call a kernel that does nothing.

        Theirs might walk a huge number of empty rows.
        """
        self.invariants.restore()
        self.steps[:, STEP_KERNEL] = self._executable.steps[:, STEP_KERNEL]
        self.steps[:, STEP_RECORD] = self._records
        if not self._has_empty:
            return
        for index, step in enumerate(self.program.steps):
            outputs = step.outputs
            if outputs and all(0 in self.shape(tensor) for tensor in outputs):
                self.steps[index, STEP_KERNEL] = self._executable.idle_kernel
                self.steps[index, STEP_RECORD] = address_of(self._idle_record)

    def _outputs_of(self, phase: int) -> list[Output]:
        outputs = [
            (index, buffer, self.shape(tensor), dtype)
            for index, buffer, tensor, dtype in self._ports[phase]
        ]
        keep_at_hand(sum(math.prod(s) * np.dtype(dtype).itemsize for _, _, s, dtype in outputs))
        return outputs

    def fill_host(self, index: int) -> None:
        """Write the addresses of what a host step gave into the records of the steps."""
        if address := self._host_addresses[index]:
            self._executable.fill(address)


def _ports_by_phase(program: Program, phases: int) -> list[list[tuple[int, int, int, str]]]:
    """List outputs that a run allocates: number, buffer, tensor and dtype, by phase."""
    ports: list[list[tuple[int, int, int, str]]] = [[] for _ in range(phases)]
    for index, port in enumerate(program.outputs):
        spec = program.tensors[port.tensor]
        buffer = program.buffers[spec.buffer]
        if buffer[BUFFER_KIND] == OUTPUT:
            entry = index, spec.buffer, port.tensor, spec.dtype
            ports[buffer[BUFFER_PHASE]].append(entry)
    return ports


def _first_aligned(arena: np.ndarray) -> int:
    """Address in an arena at which its first buffer lies."""
    return -(-address_of(arena) // ALIGNMENT) * ALIGNMENT
