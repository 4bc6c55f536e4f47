"""Assembly: steps and host steps, in the order they are added, become the tables of a program.

Buffers, tensors and kernels get numbers, sizes the slots of instructions that compute them, records
their words. A word that is known only when the program is bound (an address, a size) is left to a
patch, as in an object file. Which buffers lie over one another is settled last.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import UnsupportedModel
from ..kernels.abi import (
    ADDRESS,
    BUFFER_COLUMNS,
    CODE_COLUMNS,
    KERNEL,
    PATCH_COLUMNS,
    PATCH_KIND,
    PATCH_SOURCE,
    RECORD,
    VALUE,
    WEIGHTS,
)
from ..kernels.ref import KernelRef
from ..kernels.registry import Kernel
from .devices.kernel_set import AnyKernel
from .flows import Flows
from .graph import Info, Node
from .inplace import Inplace
from .memory import new_weights
from .program import Cache, Check, HostStep, Port, Program, Reading, Step, Stretch, TensorSpec
from .size_code import Code
from .symbolic import Dim, Expr, Symbol, named_text, sum_dims, symbol_of
from .tensors import Buffer, Indexed, Label, Pending, Record, Tensor, words_of

_ALIGN = 64


class Assembler:
    """A program under construction.

    Parameters
    ----------
    read_later : collection of str
        Symbols of sizes that host steps and readings will tell: none may be needed before.

    Attributes
    ----------
    code : Code
        Instructions that compute sizes from symbols.
    """

    def __init__(self, read_later: Collection[str] = ()) -> None:
        self.code = Code()
        self._unknown = set(read_later)
        self._symbols_checked = 0
        self._buffers: list[Buffer] = []
        self._inplace = Inplace()
        self._flows = Flows()
        self._weights: list[np.ndarray] = []
        self._weight_bytes = 0
        self._stored: dict[Buffer, tuple[int, int]] = {}  # byte offset, and place in the list
        self._numbers: dict[Tensor, int] = {}
        self._specs: list[TensorSpec] = []
        self._kernels: dict[KernelRef, int] = {}
        # Numbers of 64 bits: there are dozens for each step, and objects take four times as much.
        self._words = array("q")
        self._patches = array("q")  # in the order of the columns PATCH_..., a row after the other
        self._labels: list[tuple[int, Label]] = []
        self._repeated: list[set[Buffer]] = []  # what each loop uses that is open yet
        self._inputs: list[Port] = []
        self._outputs: list[Port] = []
        self._steps: list[Step] = []
        self._hosts: list[HostStep] = []
        self._bodies: list[Program] = []
        self._stretches: list[Stretch] = []
        self._readings: list[Reading] = []
        self._caches: list[Cache] = []
        self._checks: list[Check] = []
        self._time = 0
        self._phase = 0

    # --- memory -------------------------------------------------------------------------------

    def buffer(self, kind: int, size: Dim) -> Buffer:
        """Create a buffer of a number of bytes, of the phase in which it is first used."""
        buffer = Buffer(kind, size, len(self._buffers), self._phase)
        self._buffers.append(buffer)
        return buffer

    def open_phase(self) -> None:
        """Begin a phase: sizes may now depend on what a host step or a reading tells."""
        self._phase += 1

    def store(self, values: np.ndarray) -> tuple[Buffer, int]:
        """Keep a dense array with the weights; returns its buffer and byte offset."""
        first = self._weight_bytes
        self._weight_bytes += _aligned(values.nbytes)
        buffer = self.buffer(WEIGHTS, values.nbytes)
        self._stored[buffer] = first, len(self._weights)
        self._weights.append(values)
        return buffer, first

    def stored(self, tensor: Tensor) -> np.ndarray | None:
        """Return the elements of a tensor whose array is stored, which may be a view of it."""
        places: Any = (tensor.offset, *tensor.shape, *tensor.strides)
        if tensor.buffer not in self._stored or not all(isinstance(place, int) for place in places):
            return None
        first, index = self._stored[tensor.buffer]
        strides = [stride * tensor.itemsize for stride in places[1 + len(tensor.shape) :]]
        offset, shape = places[0] - first, places[1 : 1 + len(tensor.shape)]
        return np.ndarray(shape, tensor.dtype, self._weights[index], offset, strides)

    def number(self, tensor: Tensor) -> int:
        """Return the number by which ports, steps and host steps name a tensor."""
        if tensor not in self._numbers:
            slot = self.code.slot
            self._numbers[tensor] = len(self._specs)
            self._specs.append(
                TensorSpec(
                    tensor.buffer.index,
                    slot(tensor.offset),
                    tensor.dtype,
                    [slot(dim) for dim in tensor.shape],
                    [slot(stride) for stride in tensor.strides],
                    tensor.name,
                    self._phase,
                )
            )
        return self._numbers[tensor]

    # --- steps --------------------------------------------------------------------------------

    def add_step(self, step: Pending, is_certain: bool = False) -> None:
        """Append a step, with its record; every run does one that is certain, once."""
        used: list[Tensor] = [*step.outputs]
        record = self._write_record(Record(words_of(step.kernel, step.fields)), used)
        for tensor in used:
            self._touch(tensor)
            self.code.slot(tensor.buffer.size)
        self._flows.add(step, used, is_certain and self._phase == 0)
        is_last = False
        if step.outputs:
            self._inplace.allow(self._time, step.outputs[0], step.over, used)
            is_last = step.outputs[0].is_channels_last
        traffic = _traffic(used) if step.traffic is None else step.traffic
        self._steps.append(
            Step(
                self._kernel_number(step.kernel),
                record,
                step.nodes[-1] if step.nodes else step.outputs[0].name,
                step.op_type,
                step.nodes,
                step.operators,
                [self.number(tensor) for tensor in step.outputs],
                "channels_last" if is_last else "plain",
                self.code.slot(step.flops),
                self.code.slot(traffic),
                self._indexed(step.indexed),
            )
        )
        self._check_sizes_known(step)
        self._time += 1
        self.code.step = len(self._steps)

    def _indexed(self, indexed: Indexed | None) -> list[str | int]:
        if indexed is None:
            return []
        sizes = map(self.code.slot, indexed.sizes)
        return [indexed.name, int(indexed.from_end), *sizes]

    def _check_sizes_known(self, step: Pending) -> None:
        """Refuse a step that needs a size, also of a buffer, before a host step has given it."""
        for symbol in self.code.symbols[self._symbols_checked :]:
            if symbol in self._unknown:
                names = ", ".join(repr(tensor.name) for tensor in step.outputs)
                raise UnsupportedModel(
                    f"step {step.op_type}, computing {names}, needs the size {symbol!r} before "
                    "the node that gives it has run"
                )
        self._symbols_checked = len(self.code.symbols)

    def _write_record(self, record: Record, used: list[Tensor]) -> int:
        """Write a record and those it points to into the words; lists the tensors it uses."""
        for item in record.fields:
            if isinstance(item, Record) and item.position < 0:
                self._write_record(item, used)
        record.position = len(self._words)
        for item in record.fields:
            word = len(self._words)
            self._words.append(0)
            if isinstance(item, Tensor):
                used.append(item)
                self._patch(word, ADDRESS, item.buffer.index, self.code.slot(item.offset))
            elif isinstance(item, Record):
                self._patch(word, RECORD, item.position)
            elif isinstance(item, Kernel):
                self._patch(word, KERNEL, self._kernel_number(item))
            elif isinstance(item, Label):
                self._labels.append((word, item))
            elif isinstance(item, Expr):
                self._patch(word, VALUE, self.code.slot(item))
            elif item is not None:
                self._words[word] = int(item)
        return record.position

    def _patch(self, word: int, kind: int, source: int, offset: int = 0) -> None:
        self._patches.extend((word, kind, source, offset))

    def _kernel_number(self, kernel: AnyKernel) -> int:
        return self._kernels.setdefault(kernel.ref, len(self._kernels))

    def _touch(self, tensor: Tensor) -> None:
        buffer = tensor.buffer
        if buffer.last < 0:
            buffer.phase = self._phase
        buffer.first = min(buffer.first, self._time)
        buffer.last = max(buffer.last, self._time)
        if self._repeated:
            self._repeated[-1].add(buffer)

    def mark(self, label: Label) -> None:
        """Let a label be the step that is added next."""
        label.step = len(self._steps)

    @contextmanager
    def loop(self, gathered: Sequence[Tensor] = ()) -> Iterator[None]:
        """Add steps that a run repeats: what they use of before must last until the last of them.

        One more step has to follow, which lets the run go back.

        Parameters
        ----------
        gathered : sequence of Tensor
            What every iteration adds a part to: it must last from the first of the steps.
        """
        begin = self._time
        self._repeated.append(set())
        for tensor in gathered:
            self._touch(tensor)
        try:
            yield
        finally:
            used = self._repeated.pop()
            for buffer in used:
                if buffer.first <= begin:
                    buffer.last = max(buffer.last, self._time)
            if self._repeated:
                self._repeated[-1] |= used

    @property
    def step_count(self) -> int:
        """Number of steps so far."""
        return len(self._steps)

    def take_back(self, step_count: int) -> None:
        """Forget the steps that came after the first so many."""
        self._time -= len(self._steps) - step_count
        del self._steps[step_count:]
        self._flows.take_back(step_count)
        self.code.step = step_count

    def add_host_step(
        self,
        node: Node,
        operator: bytes,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor | None],
        captured: Mapping[str, Tensor],
        read_sizes: Sequence[tuple[int, int, Symbol]],
        bodies: Mapping[str, Program],
    ) -> None:
        """Append a host step, which ends a stretch of steps.

        Parameters
        ----------
        node : Node
        operator : bytes
            What ``host.HostOp`` is made of.
        inputs, outputs : sequence of Tensor
            None where the node has none.
        captured : mapping of str to Tensor
            What the node's subgraphs use besides.
        read_sizes : sequence of (int, int, Symbol)
            (output, axis, symbol) of sizes that the results tell.
        bodies : mapping of str to Program
            What computes the node's subgraphs, by attribute.
        """
        self._unknown.difference_update(symbol for *_, symbol in read_sizes)
        self.code.step = -1 - len(self._hosts)
        for tensor in (*inputs, *captured.values()):
            if tensor is not None:
                self._touch(tensor)
        results = [-1 if tensor is None else self.number(tensor) for tensor in outputs]
        symbols = [(output, axis, self.code.symbol(name)) for output, axis, name in read_sizes]
        operands = [-1 if tensor is None else self.number(tensor) for tensor in inputs]
        outer = {name: self.number(tensor) for name, tensor in captured.items()}
        self._flows.read([*inputs, *captured.values()])
        self._end_stretch(host=len(self._hosts))
        first = len(self._bodies)
        self._bodies += bodies.values()
        indices = dict(zip(bodies, range(first, len(self._bodies)), strict=True))
        self._hosts.append(
            HostStep(operator, node.name, node.op_type, operands, results, outer, symbols, indices)
        )
        self._time += 1
        self.code.step = len(self._steps)

    def add_reading(self, tensor: Tensor, symbols: Sequence[Symbol], name: str) -> None:
        """Append a reading of sizes off a tensor's elements, which begins a phase."""
        self._unknown.difference_update(symbols)
        self._touch(tensor)
        self._flows.read([tensor])
        number = self.number(tensor)
        self._end_stretch(reading=len(self._readings))
        self._readings.append(Reading(number, [self.code.symbol(s) for s in symbols], name))
        self._time += 1
        self.open_phase()

    def _end_stretch(self, host: int = -1, reading: int = -1) -> None:
        first = self._stretches[-1].last if self._stretches else 0
        self._stretches.append(Stretch(first, len(self._steps), host, reading))

    def check(self, left: Dim, right: Dim, broadcast: bool, message: str) -> None:
        """Append a condition on sizes: left == right, or left == 1 when ``broadcast``."""
        slots = self.code.slot(left), self.code.slot(right)
        self._checks.append(Check(*slots, broadcast, message, self._phase))

    # --- the whole ----------------------------------------------------------------------------

    def add_input(self, info: Info, tensor: Tensor, type_: str) -> None:
        """Append an input, of a type as ports have it; its named dimensions define symbols."""
        number = self.number(tensor)
        port = Port(info.name, info.dtype, _declared(info), number, type=type_)
        if port.dims is not None:
            symbols = [symbol_of(dim) for dim in info.shape or ()]
            port.symbols = [-1 if each is None else self.code.symbol(each) for each in symbols]
        self._inputs.append(port)

    def add_output(self, info: Info, tensor: Tensor, type_: str) -> None:
        """Append an output, of a type as ports have it."""
        self._flows.read([tensor])
        port = Port(info.name, info.dtype, _declared(info), self.number(tensor), type=type_)
        self._outputs.append(port)

    def add_cache(self, whole: Tensor, past: Tensor, axis: int) -> None:
        """Append a cache that an output of the model continues in place."""
        self._caches.append(Cache(past.name, whole.name, self.number(whole), axis))

    def finish(self, metadata: dict[str, Any]) -> Program:
        """Return the program."""
        self._end_stretch()
        invariant_steps, kept = self._flows.find_invariants()
        self._inplace.settle(kept)
        merged = np.array([self._inplace.merged(each).index for each in self._buffers], np.int64)
        for spec in self._specs:
            spec.buffer = int(merged[spec.buffer])
        patches = _table(self._patches, PATCH_COLUMNS)
        addressed = patches[:, PATCH_KIND] == ADDRESS
        patches[addressed, PATCH_SOURCE] = merged[patches[addressed, PATCH_SOURCE]]
        for word, label in self._labels:
            self._words[word] = label.step
        slot = self.code.slot
        # In the order of the columns BUFFER_...
        buffers = [[b.kind, slot(b.size), b.first, b.last, b.phase] for b in self._buffers]
        return Program(
            inputs=self._inputs,
            outputs=self._outputs,
            symbols=self.code.symbols,
            tensors=self._specs,
            kernels=list(self._kernels),
            steps=self._steps,
            host_steps=self._hosts,
            bodies=self._bodies,
            stretches=self._stretches,
            readings=self._readings,
            caches=self._caches,
            checks=self._checks,
            metadata=metadata,
            code=_table(self.code.instructions, CODE_COLUMNS),
            buffers=_table(buffers, BUFFER_COLUMNS),
            words=np.array(self._words, np.int64),
            patches=patches,
            weights=self._weight_blob(),
            invariant_steps=invariant_steps,
            kept_buffers=[self._inplace.merged(buffer).index for buffer in kept],
        )

    def _weight_blob(self) -> np.ndarray:
        blob = new_weights(self._weight_bytes)
        at = 0
        self._weights.reverse()
        while self._weights:
            piece = self._weights.pop()  # each is freed as soon as it is copied
            blob[at : at + piece.nbytes] = piece.reshape(-1).view(np.uint8)
            at += _aligned(piece.nbytes)
        return blob


def _traffic(tensors: Sequence[Tensor]) -> Dim:
    """Bytes of tensors, each counted once."""
    moved = {(t.buffer, t.offset): t.nbytes for t in tensors if not t.buffer.is_scratch}
    return sum_dims(moved.values())


def _declared(info: Info) -> list[int | str | None] | None:
    """Return the dimensions of a port, as text those that the model's names say."""
    if info.shape is None:
        return None
    return [dim if isinstance(dim, int) else named_text(dim) for dim in info.shape]


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _table(rows: Sequence[Sequence[int]] | array[int], columns: int) -> np.ndarray:
    return np.array(rows, np.int64).reshape(-1, columns)
