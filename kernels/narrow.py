"""Numbers of 8 bits and fewer, a byte each in memory: loads, stores and rounding.

Floats are float32 when they are computed with. Those of `narrow_floats` are converted by
arithmetic, powers of two by tables: a byte indexes the 256 numbers of the type, the upper 16 bits
of a float32, whose last is set if any bit is lost, a table of bytes.
Integers of few bits are the low ones of their byte.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types

from . import narrow_floats, simd
from .narrow_tables import (
    FLOATS,
    INTEGERS,
    MODES,
    POWER_MODES,
    STORED_MODES,
    bytes_of,
    numbers_of,
)
from .simd import element_at
from .vectors import F32, I8, I16, I32, I64, f32x, intrinsic


def _constant(builder: ir.IRBuilder, table: np.ndarray, element: ir.Type, name: str) -> Any:
    """Emit a table; returns the pointer to its first element."""
    kind = ir.ArrayType(element, len(table))
    text = bytearray(table.tobytes()) if element == I8 else [element(float(v)) for v in table]
    pointer = cgutils.global_constant(builder, name, ir.Constant(kind, text))
    return builder.bitcast(pointer, element.as_pointer())


def _make_load(name: str) -> Any:
    @intrinsic
    def load(typingctx, address, index):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            code = builder.zext(builder.load(element_at(builder, *args, I8)), I32)
            return _emit_number(builder, code, name)

        return types.float32(types.int64, types.int64), codegen

    return load


def _emit_number(builder: ir.IRBuilder, code: Any, name: str) -> Any:
    if name in narrow_floats.NAMES:
        return narrow_floats.emit_number(builder, code, name)
    table = _constant(builder, numbers_of(name), F32, f"numbers_{name}")
    return builder.load(builder.gep(table, [builder.zext(code, I64)]))


def _emit_byte(builder: ir.IRBuilder, value: Any, name: str, mode: str) -> Any:
    if name in narrow_floats.NAMES:
        return builder.trunc(narrow_floats.emit_code(builder, value, name, mode), I8)
    bits = builder.bitcast(value, I32)
    lost = builder.icmp_unsigned("!=", builder.trunc(bits, I16), I16(0))
    half = builder.or_(builder.lshr(bits, I32(16)), builder.zext(lost, I32))
    table = _constant(builder, bytes_of(name, mode), I8, f"bytes_{name}_{mode}")
    return builder.load(builder.gep(table, [builder.zext(half, I64)]))


def _make_store(name: str) -> Any:
    mode = STORED_MODES[name]

    @intrinsic
    def store(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            code = _emit_byte(builder, args[2], name, mode)
            builder.store(code, element_at(builder, args[0], args[1], I8))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, types.float32), codegen

    return store


def _make_rounding(name: str, mode: str) -> Any:
    @intrinsic
    def rounded(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            if name in narrow_floats.NAMES:
                return narrow_floats.emit_rounded(builder, args[0], name, mode)
            code = builder.zext(_emit_byte(builder, args[0], name, mode), I32)
            return _emit_number(builder, code, name)

        return types.float32(types.float32), codegen

    def rounding(a: Any) -> Any:
        return rounded(np.float32(a))

    return njit(rounding)


def _make_vector_rounding(name: str, mode: str) -> Any:
    @intrinsic
    def rounded(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return narrow_floats.emit_rounded(builder, args[0], name, mode)

        return f32x(f32x), codegen

    return rounded


def _low_bits(name: str) -> Callable[[Any], Any]:
    """Return a function that gives the number that the low bits of a whole number are."""
    bits, is_signed = INTEGERS[name], name[0] == "i"
    mask, sign = (1 << bits) - 1, 1 << (bits - 1)
    kind: Any = np.int8 if is_signed else np.uint8

    def low_bits(a: Any) -> Any:
        low = np.int64(a) & mask
        return kind((low ^ sign) - sign if is_signed else low)

    return njit(low_bits)


def _integer_memory(name: str) -> tuple[Any, Any]:
    low_bits, mask = _low_bits(name), (1 << INTEGERS[name]) - 1

    def load(address: Any, index: Any) -> Any:
        return low_bits(simd.load_u8(address, index))

    def store(address: Any, index: Any, value: Any) -> None:
        simd.store_u8(address, index, np.uint8(np.int64(value) & mask))

    return njit(load), njit(store)


MEMORY = {name: (_make_load(name), _make_store(name)) for name in FLOATS} | {
    name: _integer_memory(name) for name in INTEGERS
}
"""Load and store of elements."""

ROUNDING = {
    f"to_{name}_{mode}": _make_rounding(name, mode)
    for name in FLOATS
    for mode in (POWER_MODES if name == "e8m0" else MODES)
} | {f"to_{name}": _low_bits(name) for name in INTEGERS}
"""Functions of the pointwise language that round numbers."""

VECTOR_ROUNDING = {
    f"to_{name}_{mode}": _make_vector_rounding(name, mode)
    for name in narrow_floats.NAMES
    for mode in MODES
}
"""The same on vectors of float32."""
