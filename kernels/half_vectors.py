"""Vectors of float32 as bfloat16 in memory, among the instructions of an emitter.

They are rounded by the processor's own instruction, where it has one: it takes denormal numbers for
zero, as its products of bfloat16 do. Where these count they are looked for.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from .arithmetic import HAS_BFLOATS
from .halves import narrow_bf16, widen_bf16
from .simd import call_by_name, element_at, emit_first, load_first_lanes, mangled
from .target import LANES
from .vectors import I16, I32, I64, BFloats, f32x, i32x, intrinsic

_SHORTS = ir.VectorType(I16, LANES)
_ALIGN = 2
_DENORMAL = 1 << 5
"""Class of numbers that an instruction looks for."""


def emit_load_bf16(builder: ir.IRBuilder, pointer: Any, count: Any | None = None) -> Any:
    """Load a vector of bfloat16, or its first ``count`` lanes with zeros after them, as float32."""
    typed = builder.bitcast(pointer, _SHORTS.as_pointer())
    if count is None:
        bits = builder.load(typed, align=_ALIGN)
    else:
        bits = load_first_lanes(builder, _SHORTS, typed, count, _ALIGN)
    return widen_bf16(builder, bits, i32x.llvm, f32x.llvm)


def emit_store_bf16(
    builder: ir.IRBuilder, value: Any, pointer: Any, count: Any | None = None
) -> None:
    """Store a vector of float32, or its first ``count`` lanes, as bfloat16."""
    bits = emit_rounded(builder, value)
    typed = builder.bitcast(pointer, _SHORTS.as_pointer())
    if count is None:
        builder.store(bits, typed, align=_ALIGN)
        return
    name = f"llvm.masked.store.{mangled(_SHORTS)}.p0"
    call_by_name(
        builder, name, ir.VoidType(), [bits, typed, I32(_ALIGN), emit_first(builder, count)]
    )


def emit_rounded(builder: ir.IRBuilder, value: Any) -> Any:
    """Round a vector of float32 to bfloat16, as integers of 16 bits; denormal ones may become 0."""
    if not HAS_BFLOATS:
        return narrow_bf16(builder, value, i32x.llvm)
    name = f"llvm.x86.avx512bf16.cvtneps2bf16.{32 * LANES}"
    return builder.bitcast(call_by_name(builder, name, BFloats(LANES), [value]), _SHORTS)


def emit_exactly_rounded(builder: ir.IRBuilder, value: Any) -> Any:
    """Round a vector of float32 to bfloat16, denormal ones among them; these take longer."""
    if not HAS_BFLOATS:
        return narrow_bf16(builder, value, i32x.llvm)
    usual, mask = emit_rounded(builder, value), ir.VectorType(ir.IntType(1), LANES)
    name = f"llvm.x86.avx512.fpclass.ps.{32 * LANES}"
    classes = call_by_name(builder, name, mask, [value, I32(_DENORMAL)])
    bits = ir.IntType(LANES)
    some = builder.icmp_unsigned("!=", builder.bitcast(classes, bits), bits(0))
    before = builder.block
    with builder.if_then(some, likely=False):
        exact = narrow_bf16(builder, value, i32x.llvm)
        inside = builder.block
    chosen = builder.phi(_SHORTS)
    chosen.add_incoming(usual, before)
    chosen.add_incoming(exact, inside)
    return chosen


@intrinsic
def store_pixels(typingctx, address, index, a, b, c, d):  # type: ignore[no-untyped-def]
    """Store vectors of four planes as pixels of four bfloat16, from an element on."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        wide = ir.VectorType(I64, LANES)
        pixels = ir.Constant(wide, [0] * LANES)
        for place, value in enumerate(args[2:]):
            bits = builder.zext(emit_rounded(builder, value), wide)
            pixels = builder.or_(pixels, builder.shl(bits, ir.Constant(wide, [16 * place] * LANES)))
        at = builder.bitcast(element_at(builder, args[0], args[1], I16), wide.as_pointer())
        builder.store(pixels, at, align=_ALIGN)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, *[f32x] * 4), codegen
