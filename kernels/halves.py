"""Floats of 16 bits as float32: loads, stores and rounding, of numbers and vectors."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from .simd import call_by_name, element_at, unary
from .target import LANES
from .vectors import F16, F32, F64, I16, I32, I64, f32x, i32x, intrinsic


@intrinsic
def load_f16(typingctx, address, index):  # type: ignore[no-untyped-def]
    """Load a float16 as float32."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.fpext(builder.load(element_at(builder, args[0], args[1], F16)), F32)

    return types.float32(types.int64, types.int64), codegen


@intrinsic
def store_f16(typingctx, address, index, value):  # type: ignore[no-untyped-def]
    """Store a float32 as float16."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        narrow = builder.fptrunc(args[2], F16)
        builder.store(narrow, element_at(builder, args[0], args[1], F16))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32), codegen


@intrinsic
def rounded_f16(typingctx, value):  # type: ignore[no-untyped-def]
    """Round a float32 to the nearest float16, as a float32."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.fpext(builder.fptrunc(args[0], F16), F32)

    return types.float32(types.float32), codegen


@intrinsic
def odd_f32(typingctx, value):  # type: ignore[no-untyped-def]
    """Give a float64 as float32: the neighbour whose last bit is set, where it is none.

    It rounds to fewer bits as the float64 itself. Denormal ones are made of integers, since the
    processor may take them for zero.
    """

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        nearest = builder.fptrunc(args[0], F32)
        back = builder.fpext(nearest, F64)
        bits = builder.bitcast(nearest, I32)
        away = call_by_name(builder, "llvm.fabs.f64", F64, [args[0]])
        size = call_by_name(builder, "llvm.fabs.f64", F64, [back])
        step = builder.select(builder.fcmp_ordered("<", size, away), I32(1), I32(-1))
        is_even = builder.icmp_unsigned("==", builder.and_(bits, I32(1)), I32(0))
        is_other = builder.fcmp_ordered("!=", back, args[0])
        moved = builder.select(builder.and_(is_even, is_other), builder.add(bits, step), bits)
        is_denormal = builder.fcmp_ordered("<", away, F64(2.0**-126))
        denormal = _odd_denormal(builder, args[0], away)
        return builder.bitcast(builder.select(is_denormal, denormal, moved), F32)

    return types.float32(types.float64), codegen


def _odd_denormal(builder: ir.IRBuilder, value: Any, size: Any) -> Any:
    """Emit the bits of a number below the smallest normal float32, of which steps are counted."""
    steps = builder.fmul(size, F64(2.0**149))
    bits = builder.fptoui(steps, I32)
    lost = builder.fcmp_ordered("!=", builder.uitofp(bits, F64), steps)
    sign = builder.trunc(builder.lshr(builder.bitcast(value, I64), I64(32)), I32)
    sign = builder.and_(sign, I32(1 << 31))
    return builder.or_(builder.or_(bits, builder.zext(lost, I32)), sign)


# bfloat16 is the upper half of a float32. It is rounded by integer operations: the processor's own
# instruction takes denormal numbers for zero, and saves a quarter of the time at most.


def widen_bf16(builder: ir.IRBuilder, bits: Any, integer: ir.Type, floating: ir.Type) -> Any:
    """Emit float32 of bfloat16, given as integers of 16 bits; numbers or vectors of them."""
    wide = builder.shl(builder.zext(bits, integer), _same(integer, 16))
    return builder.bitcast(wide, floating)


def narrow_bf16(builder: ir.IRBuilder, value: Any, integer: ir.Type) -> Any:
    """Emit the nearest bfloat16, as integers of 16 bits; ties go to even."""
    bits, half = builder.bitcast(value, integer), _same(integer, 16)
    odd = builder.and_(builder.lshr(bits, half), _same(integer, 1))
    nearest = builder.lshr(builder.add(bits, builder.add(odd, _same(integer, 0x7FFF))), half)
    quiet = builder.or_(builder.lshr(bits, half), _same(integer, 0x40))
    bits = builder.select(builder.fcmp_unordered("uno", value, value), quiet, nearest)
    is_vector = isinstance(integer, ir.VectorType)
    return builder.trunc(bits, ir.VectorType(I16, integer.count) if is_vector else I16)


def _same(kind: ir.Type, number: int) -> ir.Constant:
    """A constant of a type of integers, or of vectors of them."""
    return ir.Constant(kind, [number] * kind.count if isinstance(kind, ir.VectorType) else number)


@intrinsic
def load_bf16(typingctx, address, index):  # type: ignore[no-untyped-def]
    """Load a bfloat16 as float32."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        bits = builder.load(element_at(builder, args[0], args[1], I16))
        return widen_bf16(builder, bits, I32, F32)

    return types.float32(types.int64, types.int64), codegen


@intrinsic
def store_bf16(typingctx, address, index, value):  # type: ignore[no-untyped-def]
    """Store a float32 as bfloat16."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        narrow = narrow_bf16(builder, args[2], I32)
        builder.store(narrow, element_at(builder, args[0], args[1], I16))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.float32), codegen


@intrinsic
def rounded_bf16(typingctx, value):  # type: ignore[no-untyped-def]
    """Round a float32 to the nearest bfloat16, as a float32."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return widen_bf16(builder, narrow_bf16(builder, args[0], I32), I32, F32)

    return types.float32(types.float32), codegen


def _round_f16(builder: ir.IRBuilder, value: Any) -> Any:
    return builder.fpext(builder.fptrunc(value, ir.VectorType(F16, LANES)), f32x.llvm)


def _round_bf16(builder: ir.IRBuilder, value: Any) -> Any:
    return widen_bf16(builder, narrow_bf16(builder, value, i32x.llvm), i32x.llvm, f32x.llvm)


vround_f16 = unary("vround_f16", _round_f16, f32x, f32x)
vround_bf16 = unary("vround_bf16", _round_bf16, f32x, f32x)
