"""Loads and stores as intrinsics of numba.cuda: instructions on global memory.

Addresses are of global memory in every kernel, which the type of the pointer says: the compiler
would emit slower instructions for memory of any kind.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils
from numba.cuda import types as _types
from numba.cuda.extending import intrinsic

from ..narrow_tables import FLOATS, INTEGERS, MODES, POWER_MODES, STORED_MODES
from . import narrow

types: Any = _types
_GLOBAL = 1
_F32, _F64, _F16 = ir.FloatType(), ir.DoubleType(), ir.HalfType()
_I32, _I64 = ir.IntType(32), ir.IntType(64)


def _pointer(builder: Any, address: Any, index: Any, stored: Any, size: int) -> Any:
    offset = builder.mul(index, ir.Constant(_I64, size))
    return builder.inttoptr(builder.add(address, offset), ir.PointerType(stored, _GLOBAL))


def _as_is(builder: Any, value: Any) -> Any:
    return value


def _truth(builder: Any, value: Any) -> Any:
    """Give any byte but 0 as 1."""
    is_set = builder.icmp_unsigned("!=", value, ir.Constant(value.type, 0))
    return builder.zext(is_set, value.type)


def _widened(builder: Any, value: Any) -> Any:
    """Give a bfloat16 as float32: the other half of its bits is zero."""
    bits = builder.shl(builder.zext(value, _I32), ir.Constant(_I32, 16))
    return builder.bitcast(bits, _F32)


def _rounded(builder: Any, value: Any) -> Any:
    """Round a float32 to the nearest bfloat16, ties to even; what is no number stays none."""
    bits = builder.bitcast(value, _I32)
    lowest = builder.and_(builder.lshr(bits, ir.Constant(_I32, 16)), ir.Constant(_I32, 1))
    near = builder.add(builder.add(bits, ir.Constant(_I32, 0x7FFF)), lowest)
    none = builder.or_(bits, ir.Constant(_I32, 0x400000))
    is_number = builder.fcmp_ordered("==", value, value)
    chosen = builder.select(is_number, near, none)
    return builder.trunc(builder.lshr(chosen, ir.Constant(_I32, 16)), ir.IntType(16))


def _from_half(builder: Any, value: Any) -> Any:
    return builder.fpext(value, _F32)


def _to_half(builder: Any, value: Any) -> Any:
    return builder.fptrunc(value, _F16)


class _Stored(NamedTuple):
    """A type in memory: its bytes, the type of its numbers, and what is done between."""

    stored: Any
    size: int
    number: Any
    read: Any = _as_is
    written: Any = _as_is


def _accesses(kind: _Stored) -> tuple[Any, Any]:
    """Make load and store of a type in memory."""
    stored, size, number, read, written = kind

    @intrinsic
    def load(typingctx, address, index):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return read(builder, builder.load(_pointer(builder, *args, stored, size)))

        return number(types.int64, types.int64), codegen

    @intrinsic
    def store(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            place = _pointer(builder, args[0], args[1], stored, size)
            builder.store(written(builder, args[2]), place)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, number), codegen

    return load, store


def _several(kind: _Stored, count: int) -> tuple[Any, Any]:
    """Make load and store of neighbouring elements, a tuple, in pieces of up to 16 bytes."""
    stored, size, number, read, written = kind
    vector, numbers = ir.VectorType(stored, count), types.UniTuple(number, count)
    alignment = min(16, size * count)

    @intrinsic
    def load(typingctx, address, index):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            place = _pointer(builder, *args, vector, size)
            found = builder.load(place, align=alignment)
            each = [builder.extract_element(found, _I32(i)) for i in range(count)]
            return cgutils.pack_array(builder, [read(builder, value) for value in each])

        return numbers(types.int64, types.int64), codegen

    @intrinsic
    def store(typingctx, address, index, values):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            together = ir.Constant(vector, ir.Undefined)
            for i in range(count):
                value = written(builder, builder.extract_value(args[2], i))
                together = builder.insert_element(together, value, _I32(i))
            builder.store(together, _pointer(builder, *args[:2], vector, size), align=alignment)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, numbers), codegen

    return load, store


_STORED = {
    "f32": _Stored(_F32, 4, types.float32),
    "f64": _Stored(_F64, 8, types.float64),
    "f16": _Stored(_F16, 2, types.float32, _from_half, _to_half),
    "bf16": _Stored(ir.IntType(16), 2, types.float32, _widened, _rounded),
    "b8": _Stored(ir.IntType(8), 1, types.uint8, _truth),
} | {
    f"{name[0]}{bits}": _Stored(ir.IntType(bits), bits // 8, getattr(types, f"{name}{bits}"))
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
}
for _name, _mode in STORED_MODES.items():
    _STORED[_name] = _Stored(
        ir.IntType(8), 1, types.float32, functools.partial(narrow.emit_float, name=_name),
        functools.partial(narrow.emit_byte, name=_name, mode=_mode),
    )  # fmt: skip
for _name in INTEGERS:
    _STORED[_name] = _Stored(
        ir.IntType(8), 1, types.int8 if _name[0] == "i" else types.uint8,
        functools.partial(narrow.emit_low_bits, name=_name),
        functools.partial(narrow.emit_masked, name=_name),
    )  # fmt: skip
_ACCESSES = {name: _accesses(kind) for name, kind in _STORED.items()}
LOAD = {kind: load for kind, (load, _) in _ACCESSES.items()}
STORE = {kind: store for kind, (_, store) in _ACCESSES.items()}


@functools.cache
def several(kind: str, count: int) -> tuple[Any, Any]:
    """Return load and store of ``count`` neighbouring elements, at a multiple of their bytes.

    Sixteen are enough for it where they have more.
    """
    return _several(_STORED[kind], count)


def _reinterpreted(given: Any, result: Any, kind: Any) -> Any:
    @intrinsic
    def convert(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return builder.bitcast(args[0], kind)

        return result(given), codegen

    return convert


def _rounding(round_to: Any) -> Any:
    @intrinsic
    def rounded(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return round_to(builder, args[0])

        return types.float32(types.float32), codegen

    return rounded


def _there_and_back(convert: Any, back: Any) -> Any:
    def round_to(builder: Any, value: Any) -> Any:
        return back(builder, convert(builder, value))

    return _rounding(round_to)


ROUND = {"f16": _there_and_back(_to_half, _from_half), "bf16": _there_and_back(_rounded, _widened)}
"""Roundings of float32 to types of 16 bits and fewer, whose numbers are float32."""
ROUND |= {
    f"{name}_{mode}": _rounding(functools.partial(narrow.emit_rounded, name=name, mode=mode))
    for name in FLOATS
    for mode in (POWER_MODES if name == "e8m0" else MODES)
}

bits_of = _reinterpreted(types.float32, types.uint32, _I32)
float_of = _reinterpreted(types.uint32, types.float32, _F32)
long_bits_of = _reinterpreted(types.float64, types.int64, _I64)


@intrinsic
def nanoseconds(typingctx):  # type: ignore[no-untyped-def]
    """Return the time of the GPU's clock."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        kind = ir.FunctionType(_I64, [])
        clock = ir.InlineAsm(kind, "mov.u64 $0, %globaltimer;", "=l", side_effect=True)
        return builder.call(clock, [])

    return types.int64(), codegen


def compare_exchange(kind: str) -> tuple[Any, Any, Any, Any]:
    """Return a compare-exchange of the bits of a type's elements, and what goes with it.

    It takes address, index, the bits that are expected and those that replace them, and returns
    those that were there. Then come functions from a number to its bits and back, and the type.
    """
    size = int(kind[1:])
    bits = {32: types.uint32, 64: types.uint64}[size]
    number = getattr(types, {"f": "float", "i": "int", "u": "uint"}[kind[0]] + kind[1:])
    stored = ir.IntType(size)
    own = {"f32": _F32, "f64": _F64}.get(kind, stored)

    @intrinsic
    def exchange(typingctx, address, index, expected, wanted):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            place = _pointer(builder, args[0], args[1], stored, size // 8)
            found = builder.cmpxchg(place, args[2], args[3], "monotonic", "monotonic")
            return builder.extract_value(found, 0)

        return bits(types.int64, types.int64, bits, bits), codegen

    to_bits, to_number = _reinterpreted(number, bits, stored), _reinterpreted(bits, number, own)
    return exchange, to_bits, to_number, getattr(np, str(number))


@functools.cache
def shuffle(way: str, name: str) -> Any:
    """Return ``exchange(value, distance)`` between the 32 threads of a warp (``shfl.sync``).

    ``way`` is that of the instruction, ``name`` that of a type; numbers of 64 bits go by halves.
    """
    number = getattr(types, name)
    size = min(max(number.bitwidth, 32), 64)
    kind = ir.FunctionType(_I32, [_I32] * 4)
    last = 31 if way == "bfly" else 0

    def swapped(builder: Any, bits: Any, distance: Any) -> Any:
        # The intrinsic, not its PTX: the compiler moves it into no branch.
        name = f"llvm.nvvm.shfl.sync.{way}.i32"
        call = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(call, [_I32(-1), bits, distance, _I32(last)])

    @intrinsic
    def exchange(typingctx, value, distance):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            own, by = args[0], builder.trunc(args[1], _I32)
            whole, stored = ir.IntType(size), ir.IntType(number.bitwidth)
            bits = builder.zext(builder.bitcast(own, stored), whole)
            if size == 32:
                found = swapped(builder, bits, by)
            else:
                low = swapped(builder, builder.trunc(bits, _I32), by)
                high = swapped(builder, builder.trunc(builder.lshr(bits, _I64(32)), _I32), by)
                upper = builder.shl(builder.zext(high, _I64), _I64(32))
                found = builder.or_(builder.zext(low, _I64), upper)
            return builder.bitcast(builder.trunc(found, stored), own.type)

        return number(number, types.int64), codegen

    return exchange
