"""Basic instructions: places of threads, loads and stores by address, barriers, cp.async.

Sections of the PTX ISA 9.0 stand with each.
"""

from __future__ import annotations

import functools

from .ptx import Instruction, Kind, Operand, SharedStart


def _special(name: str, register: str) -> Instruction:
    lines = (f"mov.u32 %value, {register};",)
    return Instruction(name, lines, (), Operand("value", "b32"), has_effects=False, section="10")


thread_index = _special("thread_index", "%tid.x")
block_x = _special("block_x", "%ctaid.x")
block_y = _special("block_y", "%ctaid.y")
block_z = _special("block_z", "%ctaid.z")

shared_start = SharedStart()
"""Address of the block's dynamic shared memory, aligned to 1024 bytes."""

synchronize = Instruction("synchronize", ("bar.sync 0;",), section="9.7.13.1")
"""Wait for all threads of the block; writes to memory before are seen after."""


@functools.cache
def barrier_of(number: int, threads: int) -> Instruction:
    """Return the wait for so many threads of the block at a barrier of its own (1 to 15)."""
    return Instruction(f"barrier_{number}", (f"bar.sync {number}, {threads};",), section="9.7.13.1")


PTX_TYPES: dict[str, tuple[str, Kind]] = {
    "f32": ("b32", "f32"),
    "i32": ("s32", "s32"),
    "i8": ("s8", "s32"),
    "u8": ("u8", "b32"),
    "bits16": ("u16", "b32"),
    "bits32": ("b32", "b32"),
    "i64": ("b64", "b64"),
}
"""Types in memory: how PTX calls them, and the register that holds one."""


@functools.cache
def load(space: str, kind: str, count: int = 1) -> Instruction:
    """Return a load of ``count`` (1, 2 or 4) neighbouring elements (section 9.7.9.8).

    Parameters
    ----------
    space : str
        ``global`` or ``shared``.
    kind : str
        Type in memory, of `PTX_TYPES`.
    """
    memory, register = PTX_TYPES[kind]
    value = Operand("value", register, count if count > 1 else 0)
    vector = f".v{count}" if count > 1 else ""
    to = "{" + ", ".join(value.registers) + "}" if count > 1 else "%value"
    lines = (f"ld.{space}{vector}.{memory} {to}, [%address];",)
    return Instruction(f"load_{space}_{kind}", lines, (_address(space),), value, section="9.7.9.8")


@functools.cache
def store(space: str, kind: str, count: int = 1) -> Instruction:
    """Return a store of ``count`` (1, 2 or 4) neighbouring elements (section 9.7.9.11)."""
    memory, register = PTX_TYPES[kind]
    value = Operand("value", register, count if count > 1 else 0)
    vector = f".v{count}" if count > 1 else ""
    source = "{" + ", ".join(value.registers) + "}" if count > 1 else "%value"
    memory = memory.replace("s", "b").replace("u", "b")
    lines = (f"st.{space}{vector}.{memory} [%address], {source};",)
    inputs = (_address(space), value)
    return Instruction(f"store_{space}_{kind}", lines, inputs, section="9.7.9.11")


def _address(space: str) -> Operand:
    return Operand("address", "b32" if space == "shared" else "b64")


copy_piece = Instruction(
    "copy_piece",
    ("cp.async.cg.shared.global [%to], [%source], 16, %count;",),
    (Operand("to", "b32"), Operand("source", "b64"), Operand("count", "b32")),
    section="9.7.9.25.3.1",
)
"""Copy ``count`` (0 to 16) bytes from global to shared memory, and zeros up to 16."""

copy_element = Instruction(
    "copy_element",
    ("cp.async.ca.shared.global [%to], [%source], 4, %count;",),
    (Operand("to", "b32"), Operand("source", "b64"), Operand("count", "b32")),
    section="9.7.9.25.3.1",
)
"""Copy ``count`` (0 or 4) bytes from global to shared memory, and zeros up to 4."""

commit_copies = Instruction("commit_copies", ("cp.async.commit_group;",), section="9.7.9.25.3.2")
"""Close the group of this thread's copies since the last one."""


@functools.cache
def wait_copies(left: int) -> Instruction:
    """Return the wait until at most ``left`` groups of copies of this thread are under way."""
    lines = (f"cp.async.wait_group {left};",)
    return Instruction(f"wait_copies_{left}", lines, section="9.7.9.25.3.3")


@functools.cache
def zeros(kind: Kind, count: int) -> Instruction:
    """Return the instruction that gives ``count`` zeros (accumulators at the start)."""
    output = Operand("sum", kind, count)
    suffix, zero = ("f32", "0f00000000") if kind == "f32" else ("b32", "0")
    lines = tuple(f"mov.{suffix} {register}, {zero};" for register in output.registers)
    return Instruction(f"zeros_{kind}_{count}", lines, (), output, has_effects=False)


quotient = Instruction(
    "quotient",
    ("div.u32 %value, %x, %y;",),
    (Operand("x", "b32"), Operand("y", "b32")),
    Operand("value", "b32"),
    has_effects=False,
    section="9.7.1.8",
)
"""Divide two numbers below 2^32: a fifth of the instructions that 64 bits take."""
