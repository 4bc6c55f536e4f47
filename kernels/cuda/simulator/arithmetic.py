"""Arithmetic of PTX on registers: PTX ISA 9.0, sections 9.7.1 to 9.7.9.

Products of float32 and their sums are rounded once, as fma does, by computing in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .program import U32, U64, Line, PtxError, State, operation

_TYPES: dict[str, Any] = {
    "u32": U32,
    "b32": U32,
    "s32": np.int32,
    "f32": np.float32,
    "u64": U64,
    "b64": U64,
    "s64": np.int64,
}


def _type(line: Line) -> Any:
    return _TYPES[line.opcode[-1]]


def special(state: State, name: str) -> np.ndarray:
    """Read a special register (section 10)."""
    register, _, axis = name[1:].partition(".")
    place = "xyz".find(axis)
    if register == "laneid":
        return np.array([thread.index % 32 for thread in state.threads], U32)
    if register == "tid":
        return np.array([thread.index if place == 0 else 0 for thread in state.threads], U32)
    if register == "ctaid":
        return np.full(state.count, state.block.place[place], U32)
    if register == "nctaid":
        return np.full(state.count, state.block.grid[place], U32)
    raise PtxError(f"special register {name}")


@operation("mov")
def _mov(state: State, line: Line) -> None:
    to, source = line.operands
    if isinstance(source, str) and source not in state.registers and source.startswith("%"):
        state.set(to, special(state, source))
    else:
        state.set(to, state.get(source, _type(line)).copy())


@operation("fma")
def _fma(state: State, line: Line) -> None:
    x, y, z = (state.get(each, np.float32).astype(np.float64) for each in line.operands[1:])
    state.set(line.operands[0], (x * y + z).astype(np.float32))


_BINARY = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "div": np.floor_divide,
}


@operation(*_BINARY)
def _binary(state: State, line: Line) -> None:
    dtype = _type(line)
    x, y = (state.get(each, dtype) for each in line.operands[1:])
    with np.errstate(over="ignore"):
        state.set(line.operands[0], _BINARY[line.opcode[0]](x, y))


@operation("shl", "shr")
def _shift(state: State, line: Line) -> None:
    dtype = _type(line)
    x, y = state.get(line.operands[1], dtype), state.get(line.operands[2], U32).astype(dtype)
    shift = np.left_shift if line.opcode[0] == "shl" else np.right_shift
    state.set(line.operands[0], shift(x, y))


_COMPARISONS = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}


@operation("setp")
def _setp(state: State, line: Line) -> None:
    x, y = (state.get(each, _type(line)) for each in line.operands[1:])
    state.set(line.operands[0], _COMPARISONS[line.opcode[1]](x, y))


@operation("selp")
def _selp(state: State, line: Line) -> None:
    x, y = (state.get(each, _type(line)) for each in line.operands[1:3])
    state.set(line.operands[0], np.where(state.registers[line.operands[3]], x, y))


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest bfloat16, ties to even; returns uint32 below 2^16."""
    bits = x.astype(np.float32).view(U32)
    rounded = (bits + U32(0x7FFF) + ((bits >> U32(16)) & U32(1))) >> U32(16)
    return np.where(np.isnan(x), U32(0x7FFF), rounded)


@operation("cvt.rn.bf16x2.f32", "cvt.rn.f16x2.f32")
def _pack(state: State, line: Line) -> None:
    """``cvt d, a, b``: a becomes the upper half (section 9.7.9.21)."""
    upper, lower = (state.get(each, np.float32) for each in line.operands[1:])
    if line.opcode[2] == "bf16x2":
        halves = [bf16_bits(each) for each in (upper, lower)]
    else:
        with np.errstate(over="ignore"):
            halves = [
                each.astype(np.float16).view(np.uint16).astype(U32) for each in (upper, lower)
            ]
    state.set(line.operands[0], (halves[0] << U32(16)) | halves[1])


@operation("ex2.approx.ftz")
def _ex2(state: State, line: Line) -> None:
    x = state.get(line.operands[1], np.float32).astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        value = np.exp2(x).astype(np.float32)
    state.set(line.operands[0], np.where(value < 2.0**-126, np.float32(0), value))


@operation("cvt.rn.f32.s32")
def _to_float(state: State, line: Line) -> None:
    state.set(line.operands[0], state.get(line.operands[1], np.int32).astype(np.float32))


@operation("rcp.rn")
def _rcp(state: State, line: Line) -> None:
    with np.errstate(divide="ignore"):
        state.set(line.operands[0], np.float32(1) / state.get(line.operands[1], np.float32))


@operation("shfl.sync.bfly")
def _shuffle(state: State, line: Line) -> None:
    """Read the register of the lane whose number differs in the bits of a mask (9.7.9.6)."""
    to, source, mask = line.operands[:3]
    if state.count != 32:
        raise PtxError("shfl.sync takes a warp")
    state.set(to, state.get(source)[np.arange(32) ^ mask])
