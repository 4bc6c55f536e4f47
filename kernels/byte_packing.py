"""Numbers in registers that become bytes: rounded half to even, limited, with a zero point.

With AVX-512 and AVX2 four vectors are packed at a time: conversions round, and the packing
instructions saturate, so that a vector takes 5 instructions instead of 8 and more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir

from . import simd
from .byte_vectors import emit_bytes, emit_whole
from .target import LANES, has_feature
from .vectors import I8, I16, I32, i32x

HAS_PACKS = LANES == 8 or (LANES == 16 and has_feature("avx512bw"))
_HALVES, _BYTES = ir.VectorType(I16, 2 * LANES), ir.VectorType(I8, 4 * LANES)
_SEGMENT = ir.VectorType(I8, LANES)
_CURRENT_ROUNDING = 4
_QUARTER = 4
"""Lanes of the 128 bits that instructions pack by themselves: a quarter of AVX-512's vectors."""


class Limits(NamedTuple):
    """Ends of numbers before the zero point is added, and that point: vectors of all lanes."""

    low: Any
    high: Any
    zero: Any


def emit_packed(builder: ir.IRBuilder, values: list[Any], limits: Limits) -> list[Any]:
    """Emit vectors of float32 as vectors of as many bytes, in their order."""
    if not HAS_PACKS:
        return [emit_bytes(builder, value, *limits) for value in values]
    packed = []
    for first in range(0, len(values), 4):
        four = values[first : first + 4]
        joined = emit_joined(builder, four + [four[-1]] * (4 - len(four)), limits)
        for i in range(len(four)):
            lanes = ir.Constant(ir.VectorType(I32, LANES), list(range(i * LANES, (i + 1) * LANES)))
            packed.append(builder.shuffle_vector(joined, joined, lanes))
    return packed


def emit_joined(builder: ir.IRBuilder, four: list[Any], limits: Limits) -> Any:
    """Emit four vectors of float32 as one of bytes, in their order."""
    # Each part of 128 bits has such a part of each of the vectors.
    words = builder.bitcast(emit_quarters(builder, four, limits), i32x.llvm)
    order = [4 * part + vector for vector in range(4) for part in range(LANES // _QUARTER)]
    mask = ir.Constant(ir.VectorType(I32, LANES), order)
    return builder.bitcast(builder.shuffle_vector(words, words, mask), _BYTES)


def emit_quarters(builder: ir.IRBuilder, four: list[Any], limits: Limits) -> Any:
    """Emit four vectors of float32 as one of bytes: 4 lanes of each, then the next lanes."""
    # Unsigned bytes are the distances from the least one, which is added again without a carry.
    least = builder.add(limits.zero, builder.fptosi(limits.low, i32x.llvm))
    shift = _repeated(builder, builder.sub(limits.zero, least), I16, _HALVES)
    whole = [_rounded(builder, value, limits.high) for value in four]
    pairs = [_saturated(builder, "packssdw", _HALVES, whole[i : i + 2]) for i in (0, 2)]
    pairs = [_added(builder, pair, shift) for pair in pairs]
    joined = _saturated(builder, "packuswb", _BYTES, pairs)
    return builder.add(joined, _repeated(builder, least, I8, _BYTES))


def emit_rounded(builder: ir.IRBuilder, value: Any, low: Any, high: Any) -> Any:
    """Emit a vector of float32 as int32, rounded half to even and limited; NaN is the lower limit.

    ``low`` is a vector of int32, ``high`` one of float32.
    """
    if HAS_PACKS:
        whole = _rounded(builder, value, high)
    else:
        least = builder.sitofp(low, value.type)
        whole = builder.fptosi(emit_whole(builder, value, least, high), i32x.llvm)
    return builder.select(builder.icmp_signed(">", whole, low), whole, low)


def _repeated(builder: ir.IRBuilder, words: Any, element: ir.Type, vector: ir.VectorType) -> Any:
    """Repeat the first number of a vector of int32, as another type of integers."""
    number = builder.trunc(builder.extract_element(words, I32(0)), element)
    return simd.emit_splat(builder, number, vector.count)


def _rounded(builder: ir.IRBuilder, value: Any, high: Any) -> Any:
    """Round to int32, those above ``high`` as that; NaN and those below int32 as the least one."""
    above = builder.fcmp_ordered("<", high, value)
    value = builder.select(above, high, value)
    every, zeros = ir.Constant(I16, -1), ir.Constant(i32x.llvm, None)
    if LANES == 8:
        return simd.call_by_name(builder, "llvm.x86.avx.cvt.ps2dq.256", i32x.llvm, [value])
    args = [value, zeros, every, I32(_CURRENT_ROUNDING)]
    return simd.call_by_name(builder, "llvm.x86.avx512.mask.cvtps2dq.512", i32x.llvm, args)


def _saturated(builder: ir.IRBuilder, name: str, result: ir.Type, pair: list[Any]) -> Any:
    full = f"llvm.x86.avx2.{name}" if LANES == 8 else f"llvm.x86.avx512.{name}.512"
    return simd.call_by_name(builder, full, result, pair)


def _added(builder: ir.IRBuilder, a: Any, b: Any) -> Any:
    return simd.call_by_name(builder, f"llvm.sadd.sat.v{_HALVES.count}i16", _HALVES, [a, b])
