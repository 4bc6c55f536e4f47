"""Programs: PTX text of an instruction, parsed once, and run for some threads at a time.

Registers are arrays with an element for each thread: uint32 or uint64, predicates bool. What an
opcode does is a function in `OPERATIONS`, which the modules of this package fill
(``arithmetic``, ``loads``, ``matrices``, ``copies``, ``warp_groups``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

U32, U64 = np.uint32, np.uint64


class PtxError(RuntimeError):
    """PTX that the ISA does not allow, or that the simulator does not know."""


@dataclass(frozen=True)
class Line:
    """One PTX instruction: its opcode's parts, its operands, and what it is predicated on."""

    opcode: tuple[str, ...]
    operands: tuple[Any, ...]
    predicate: str
    is_negated: bool
    text: str


@dataclass(frozen=True)
class Address:
    """An operand ``[register + offset]``; ``parts`` has all that stands between the brackets."""

    register: str
    offset: int
    parts: tuple[Any, ...] = ()


class State:
    """Registers of the threads that execute a program.

    Attributes
    ----------
    name : str
        The instruction's.
    block, threads : Block, list of Thread
        Who executes it.
    registers : dict of str to ndarray
        A value for each thread.
    active : ndarray of bool
        Threads whose predicate holds.
    """

    def __init__(self, name: str, block: Any, threads: list[Any]) -> None:
        self.name, self.block, self.threads = name, block, threads
        self.registers: dict[str, np.ndarray] = {}
        self.count = len(threads)
        self._all = np.ones(self.count, bool)
        self.active = self._all

    def predicate(self, line: Line) -> None:
        """Find the threads that execute a line."""
        self.active = self._all
        if line.predicate:
            held = self.registers[line.predicate]
            self.active = ~held if line.is_negated else held

    def get(self, operand: Any, dtype: Any = U32) -> np.ndarray:
        """Read an operand's bits as numbers of a type."""
        if isinstance(operand, int):
            bits = operand & ((1 << 8 * np.dtype(dtype).itemsize) - 1)
            unsigned = U64 if np.dtype(dtype).itemsize == 8 else U32
            return np.full(self.count, bits, unsigned).view(dtype)
        if operand not in self.registers:
            raise PtxError(f"{self.name}: {operand} is read before it is written")
        value = self.registers[operand]
        return value if value.dtype == dtype else value.view(dtype)

    def set(self, operand: str, value: np.ndarray) -> None:
        """Write an operand of the active threads."""
        if value.dtype != bool:
            value = value.view(U64 if value.dtype.itemsize == 8 else U32)
        if self.active is not self._all and operand in self.registers:
            value = np.where(self.active, value, self.registers[operand])
        self.registers[operand] = value

    def addresses(self, operand: Address, dtype: Any = U32) -> np.ndarray:
        """Evaluate an address for each thread, as int64."""
        return self.get(operand.register, dtype).astype(np.int64) + operand.offset


Operation = Callable[[State, Line], None]
OPERATIONS: dict[str, Operation] = {}
"""What opcodes do, by their first words: the longest that fits is meant."""


def operation(*opcodes: str) -> Callable[[Operation], Operation]:
    """Enter a function as what opcodes do."""

    def enter(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(opcodes, function))
        return function

    return enter


def _split(text: str) -> list[str]:
    """Split at commas that are in no brackets."""
    depth, parts = 0, [""]
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts] if text else []


def _operand(text: str) -> Any:
    text = text.strip()
    if text.startswith("{"):
        return tuple(_operand(part) for part in text[1:-1].split(","))
    if text.startswith("["):
        parts = _split(text[1:-1])
        base = re.fullmatch(r"(%[\w.]+)\s*(?:\+\s*(-?\w+))?", parts[0])
        if base is None:
            raise PtxError(f"address {text}")
        others = tuple(_operand(part) for part in parts[1:])
        return Address(base[1], int(base[2] or "0", 0), others)
    if text.startswith("0f"):
        return int(text[2:], 16)
    return int(text, 0) if re.fullmatch(r"-?\d\w*", text) else text


def _parse(text: str) -> Line:
    match = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([\w.:]+)\s*(.*);", text.strip())
    if match is None:
        raise PtxError(f"cannot parse {text!r}")
    return Line(
        tuple(match[3].replace("::", ":").split(".")),
        tuple(_operand(each) for each in _split(match[4])),
        match[2] or "",
        bool(match[1]),
        text,
    )


class Program:
    """The parsed text of an instruction."""

    def __init__(self, instruction: Any) -> None:
        self.name = instruction.name
        self._inputs, self._output = instruction.inputs, instruction.output
        lines = [line for line in instruction.lines if not line.startswith(".reg")]
        self._lines = [(_find(line := _parse(text)), line) for text in lines]

    def run(self, block: Any, threads: list[Any], arguments: list[Any]) -> list[Any]:
        """Execute it for threads, each with its arguments, and return what it gives to each."""
        state = State(self.name, block, threads)
        for i, operand in enumerate(self._inputs):
            values = [each[i] for each in arguments]
            columns = zip(*values, strict=True) if operand.count else [values]
            for register, column in zip(operand.registers, columns, strict=True):
                state.registers[register] = _bits(operand.kind, column)
        for function, line in self._lines:
            state.predicate(line)
            try:
                function(state, line)
            except Exception as error:
                error.add_note(f"{self.name}: {line.text}")
                raise
        output = self._output
        if output is None:
            return [None] * len(threads)
        columns = [_numbers(output.kind, state.registers[name]) for name in output.registers]
        return list(zip(*columns, strict=True)) if output.count else columns[0]


def _find(line: Line) -> Operation:
    for length in range(len(line.opcode), 0, -1):
        found = OPERATIONS.get(".".join(line.opcode[:length]))
        if found is not None:
            return found
    raise PtxError(f"the simulator does not know {line.text}")


def _bits(kind: str, values: Any) -> np.ndarray:
    if kind in ("f32", "f64"):
        floats = np.array(values, np.float32 if kind == "f32" else np.float64)
        return floats.view(U32 if kind == "f32" else U64)
    wide = kind == "b64"
    mask = (1 << 64) - 1 if wide else (1 << 32) - 1
    return np.array([int(value) & mask for value in values], U64 if wide else U32)


_DTYPES = {"b32": U32, "s32": np.int32, "f32": np.float32, "b64": np.int64, "f64": np.float64}


def _numbers(kind: str, bits: np.ndarray) -> list[Any]:
    numbers = bits.view(_DTYPES[kind])
    return list(numbers) if kind == "f32" else numbers.tolist()


@functools.cache
def program_of(instruction: Any) -> Program:
    """Return the parsed text of an instruction."""
    return Program(instruction)
