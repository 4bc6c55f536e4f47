"""Instructions made of PTX text, which kernels call like functions.

An `Instruction` is data: lines of PTX with named operands, and the table of these operands. What
reads it is elsewhere: a compiler's back end makes inline assembly of it (``numba_backend``; that of
numba-cuda-mlir would take the same text), the simulator interprets the very same lines
(``simulator.interpreter``), so that there is no second description that could differ.

In the text operands and registers are ``%name``, element i of a group ``%name_i``. Registers that
only the text uses are declared in it (``.reg .b32 %a<4>;`` declares ``%a0`` to ``%a3``); a text
with such declarations is a block in braces, so that they may be named alike in each.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["b32", "s32", "f32", "b64", "f64"]
"""Type of a register: 32 bits without and with sign, float32, 64 bits, float64.

To kernels those of integers are int64, as all of Python's are to numba; ``b32`` has 32 zeros above.
In groups they stay as they are.
"""


@dataclass(frozen=True)
class Operand:
    """An operand of an instruction: a register, or a group of them that kernels see as a tuple.

    Attributes
    ----------
    name : str
        Its name in the text, without the percent sign.
    kind : str
        Type of its registers (`Kind`).
    count : int
        Registers of a group; 0 for a single register.
    """

    name: str
    kind: Kind
    count: int = 0

    @property
    def registers(self) -> list[str]:
        """Names of its registers in the text."""
        if not self.count:
            return [f"%{self.name}"]
        return [f"%{self.name}_{i}" for i in range(self.count)]


@dataclass(frozen=True)
class Instruction:
    """One or more PTX instructions as a function of kernels.

    Attributes
    ----------
    name : str
        What it is called in messages.
    lines : tuple of str
        PTX, an instruction a line.
    inputs : tuple of Operand
        What it is called with, in order. One that is also the output is read and written.
    output : Operand, optional
        What it returns.
    has_effects : bool
        Whether it reads or writes memory, or waits; else a compiler may move and drop it.
    threads : int
        Neighbouring threads that execute it together: 1, a warp's 32, or a warp group's 128.
    section : str
        Where the PTX ISA describes it.
    """

    name: str
    lines: tuple[str, ...]
    inputs: tuple[Operand, ...] = ()
    output: Operand | None = None
    has_effects: bool = True
    threads: int = 1
    section: str = ""

    def __call__(self, *arguments: Any) -> Any:
        """Execute it by the simulated thread that calls it.

        Raises
        ------
        RuntimeError
            The thread that calls is none of the simulator's.
        """
        execute = getattr(threading.current_thread(), "execute", None)
        if execute is None:
            raise RuntimeError(f"{self.name} is called outside of a kernel")
        return execute(self, arguments)

    def __post_init__(self) -> None:
        declared = {name for line in self.lines if line[:4] == ".reg" for name in _names(line)}
        operands = (*self.inputs, *((self.output,) if self.output else ()))
        named = {register for operand in operands for register in operand.registers}
        assert not declared & named, f"{self.name}: {declared & named} are declared and operands"

    @property
    def text(self) -> str:
        """The lines as one block of PTX."""
        body = "\n".join(self.lines)
        declares = any(line.startswith(".reg") for line in self.lines)
        return f"{{\n{body}\n}}" if declares else body


def _names(line: str) -> list[str]:
    return re.findall(r"%\w+", line)


@dataclass(frozen=True)
class SharedStart:
    """The address of a block's dynamic shared memory, which only a compiler can give."""

    alignment: int = 1024

    def __call__(self) -> int:
        """Return it: the simulator's shared memory begins at 0."""
        return 0


@dataclass(frozen=True)
class DeviceFunction:
    """A function that kernels call, compiled into each of them (`device`)."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Call it as Python, which the simulator does."""
        return self.function(*arguments)


def device(function: Callable[..., Any]) -> DeviceFunction:
    """Mark a function that kernels may call."""
    return DeviceFunction(function)
