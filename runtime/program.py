"""Program: a model in the form that a device runs.

A program is plain data: integer tables, a blob of packed weights and the names needed for
errors and profiles. It holds no address; those are filled in when it is bound to actual sizes
(``binding.Binding``). Sizes are slots of a table that ``size_code.Code`` makes, so one
program serves every input shape. The columns of the tables are those of ``kernels.abi``.
Files of the cache hold programs (``program_file``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..kernels.ref import KernelRef


@dataclass(slots=True)
class TensorSpec:
    """Position of a value: buffer, and slots of byte offset, dims and strides (in elements).

    Its dims are known from ``phase`` on; the buffer of a view may have been there before.
    """

    buffer: int
    offset: int
    dtype: str
    shape: list[int]
    strides: list[int]
    name: str
    phase: int


@dataclass(slots=True)
class Port:
    """A graph input or output.

    ``dims`` are numbers, expressions in the names that the model gives, or None; ``symbols`` gives
    for each dimension of an input the index of the symbol it defines, or -1. ``type`` is the type
    in onnxruntime's words, such as ``"tensor(float)"``.
    """

    name: str
    dtype: str
    dims: list[int | str | None] | None
    tensor: int
    symbols: list[int] = field(default_factory=list)
    type: str = ""


@dataclass(slots=True)
class Step:
    """One kernel call: what it is, for profiles and errors; its record lies in ``words``.

    ``op_type`` says what the kernel does, ``operators`` are those of the ``nodes`` it does it for.
    Of numbers that it may refuse as out of range ``indexed`` has the tensor's name, 1 where they
    may count from the end, and the slots of what they are below, for each axis (`tensors.Indexed`).
    """

    kernel: int
    record: int
    name: str
    op_type: str
    nodes: list[str]
    operators: list[str]
    outputs: list[int]
    layout: str
    flops: int
    bytes: int
    indexed: list[Any] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The node, for an error message, or the value where the step belongs to no node."""
        operators = "+".join(self.operators)
        return f"node {self.name!r} ({operators})" if operators else f"the value {self.name!r}"


@dataclass(slots=True)
class HostStep:
    """An operator run in Python between compiled stretches.

    ``inputs`` and ``outputs`` are tensors (or -1); ``captured`` maps names that subgraphs use
    to tensors; ``defines`` lists (output, axis, symbol) read off the results; ``bodies`` gives for
    attributes that are bodies the programs that compute them, by index.
    """

    operator: bytes
    name: str
    op_type: str
    inputs: list[int]
    outputs: list[int]
    captured: dict[str, int]
    defines: list[tuple[int, int, int]]
    bodies: dict[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The node, for an error message."""
        return f"node {self.name!r} ({self.op_type})"


@dataclass(slots=True)
class Reading:
    """Sizes that the elements of a tensor of integers are, for the steps that follow.

    ``symbols`` are those of its elements, in order; ``name`` is the node that needs them.
    """

    tensor: int
    symbols: list[int]
    name: str


@dataclass(slots=True)
class Cache:
    """An input that an output of the model continues along an axis, in the input's memory.

    ``tensor`` is the whole. The memory has room for `symbolic.CAPACITY` elements along the axis.
    """

    input: str
    output: str
    tensor: int
    axis: int


@dataclass(slots=True)
class Stretch:
    """Steps ``first`` to ``last`` (exclusive), then a host step or a reading if there is one."""

    first: int
    last: int
    host: int = -1
    reading: int = -1


@dataclass(slots=True)
class Check:
    """A condition on sizes: left == right, or left == 1 when ``broadcast``.

    It is tested once the sizes of its phase are known.
    """

    left: int
    right: int
    broadcast: bool
    message: str
    phase: int


@dataclass
class Program:
    """Everything needed to run a model on one kind of processor; see the module's text.

    ``bodies`` are programs that host steps run, with what they use from outside as inputs;
    ``invariant_steps`` follow from sizes alone, and ``kept_buffers`` are those that others read of
    what these write.
    """

    inputs: list[Port]
    outputs: list[Port]
    symbols: list[str]
    tensors: list[TensorSpec]
    kernels: list[KernelRef]
    steps: list[Step]
    host_steps: list[HostStep]
    stretches: list[Stretch]
    readings: list[Reading]
    caches: list[Cache]
    checks: list[Check]
    metadata: dict[str, Any]
    code: np.ndarray
    buffers: np.ndarray
    words: np.ndarray
    patches: np.ndarray
    weights: np.ndarray
    bodies: list[Program] = field(default_factory=list)
    invariant_steps: list[int] = field(default_factory=list)
    kept_buffers: list[int] = field(default_factory=list)

    @property
    def all_kernels(self) -> list[KernelRef]:
        """Kernels of the program and its bodies."""
        return [*self.kernels, *(kernel for body in self.bodies for kernel in body.all_kernels)]

    def opened_phases(self) -> Iterator[tuple[int, list[int]]]:
        """Yield the index of each stretch after which a phase begins, and the symbols it knows."""
        for index, stretch in enumerate(self.stretches):
            if stretch.reading >= 0:
                yield index, self.readings[stretch.reading].symbols
            elif stretch.host >= 0 and self.host_steps[stretch.host].defines:
                yield index, [symbol for *_, symbol in self.host_steps[stretch.host].defines]

    def symbols_after(self) -> list[np.ndarray]:
        """Return for each phase the symbols of sizes that only later phases know."""
        groups = [symbols for _, symbols in self.opened_phases()]
        symbols = np.array([symbol for group in groups for symbol in group], np.int64)
        ends = np.cumsum([0, *map(len, groups)])
        return [symbols[end:] for end in ends]

    def places_of_symbols(self) -> dict[int, tuple[int, int]]:
        """Return the first input, and its axis, whose size a symbol is."""
        places: dict[int, tuple[int, int]] = {}
        for index, port in enumerate(self.inputs):
            if port.dtype != "object":
                for axis, symbol in enumerate(port.symbols):
                    if symbol >= 0:
                        places.setdefault(symbol, (index, axis))
        return places

    @property
    def is_local(self) -> bool:
        """Whether functions of this process compute some of its nodes: custom operators."""
        return bool(self.metadata.get("custom"))

    @property
    def weight_bytes(self) -> int:
        """Bytes of packed weights."""
        return int(self.weights.nbytes)
