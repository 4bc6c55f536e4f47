"""Bytes in registers: words of four of them that are multiplied, and sums that become bytes.

A sum is an int32. Times a scale, rounded half to even and with a zero point it is a byte; it is
limited before it is rounded, to what the zero point leaves of the range, which is the same.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from . import simd
from .target import HAS_MASKS, LANES
from .vectors import I8, I32, I64, f32x, i32x, intrinsic

_BYTES = ir.VectorType(I8, LANES)
_INTEGERS = 12582912.0
"""1.5 * 2**23: float32 near it are whole, and its lowest bits are those of what is added to it."""


# --- as LLVM IR -------------------------------------------------------------------------------


def emit_requantized(
    builder: ir.IRBuilder, sums: Any, scales: Any, low: Any, high: Any, zero: Any
) -> Any:
    """Emit a vector of sums as bytes; limits are those of numbers before ``zero`` is added.

    ``scales``, ``low`` and ``high`` are vectors of float32, ``zero`` is one of int32.
    """
    return emit_bytes(builder, emit_scaled(builder, sums, scales), low, high, zero)


def emit_scaled(builder: ir.IRBuilder, sums: Any, scales: Any) -> Any:
    """Emit a vector of sums times scales, float32."""
    return builder.fmul(builder.sitofp(sums, f32x.llvm), scales)


def emit_bytes(builder: ir.IRBuilder, value: Any, low: Any, high: Any, zero: Any) -> Any:
    """Emit a vector of float32 as bytes, as `emit_requantized`."""
    bits = builder.bitcast(_near_integers(builder, value, low, high), i32x.llvm)
    return builder.trunc(builder.add(bits, zero), _BYTES)


def emit_whole(builder: ir.IRBuilder, value: Any, low: Any, high: Any) -> Any:
    """Emit a vector of float32, limited and rounded half to even, as float32."""
    near = _near_integers(builder, value, low, high)
    return builder.fsub(near, ir.Constant(f32x.llvm, [_INTEGERS] * LANES))


def _near_integers(builder: ir.IRBuilder, value: Any, low: Any, high: Any) -> Any:
    """Limit numbers, and move them to where float32 are whole."""
    value = builder.select(builder.fcmp_ordered(">", value, low), value, low)
    value = builder.select(builder.fcmp_ordered("<", value, high), value, high)
    return builder.fadd(value, ir.Constant(f32x.llvm, [_INTEGERS] * LANES))


def emit_load(builder: ir.IRBuilder, pointer: Any, count: Any | None = None) -> Any:
    """Emit the load of a vector of bytes, or of its first ``count``."""
    pointer = builder.bitcast(pointer, _BYTES.as_pointer())
    if count is None:
        return builder.load(pointer, align=1)
    if HAS_MASKS:
        return simd.load_first_lanes(builder, _BYTES, pointer, count, 1)
    # Without mask registers lanes are loaded one by one, which a whole or an empty vector need not.
    before = builder.block
    with builder.if_then(builder.icmp_signed(">", count, I64(0))):
        with builder.if_else(builder.icmp_signed(">=", count, I64(LANES))) as (full, part):
            with full:
                whole, whole_end = builder.load(pointer, align=1), builder.block
            with part:
                some = simd.load_first_lanes(builder, _BYTES, pointer, count, 1)
                some_end = builder.block
        loaded = _joined(builder, _BYTES, [(whole, whole_end), (some, some_end)])
        loaded_end = builder.block
    return _joined(builder, _BYTES, [(ir.Constant(_BYTES, None), before), (loaded, loaded_end)])


def _joined(builder: ir.IRBuilder, vector: ir.Type, values: list[tuple[Any, Any]]) -> Any:
    """Emit a value that comes from one of several blocks."""
    phi = builder.phi(vector)
    for value, block in values:
        phi.add_incoming(value, block)
    return phi


def emit_store(builder: ir.IRBuilder, value: Any, pointer: Any, count: Any | None = None) -> None:
    """Emit the store of a vector of bytes, or of its first ``count``."""
    pointer = builder.bitcast(pointer, _BYTES.as_pointer())
    if count is None:
        builder.store(value, pointer, align=1)
    else:
        simd.store_first_lanes(builder, value, pointer, count, 1)


def _shuffled(builder: ir.IRBuilder, a: Any, b: Any, lanes: list[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


def _interleaved(builder: ir.IRBuilder, rows: list[Any]) -> Any:
    """Words of the bytes at the same place of four vectors."""
    first, second = (
        _shuffled(builder, a, b, list(range(2 * LANES))) for a, b in (rows[:2], rows[2:])
    )
    lanes = [byte * LANES + lane for lane in range(LANES) for byte in range(4)]
    return builder.bitcast(_shuffled(builder, first, second, lanes), i32x.llvm)


# --- for kernels ------------------------------------------------------------------------------


def _pointer(builder: ir.IRBuilder, address: Any, vector: ir.VectorType) -> Any:
    return builder.inttoptr(address, vector.as_pointer())


@intrinsic
def four_rows(typingctx, a, b, c, d):  # type: ignore[no-untyped-def]
    """Words of the bytes at four addresses: of each address the first byte is in the first word."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        rows = [builder.load(_pointer(builder, each, _BYTES), align=1) for each in args]
        return _interleaved(builder, rows)

    return i32x(*[types.int64] * 4), codegen


@intrinsic
def four_rows_first(typingctx, a, b, c, d, count):  # type: ignore[no-untyped-def]
    """Words as of `four_rows`, of which the first ``count`` are read and the others are 0."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        *addresses, count = args
        rows = [
            simd.load_first_lanes(builder, _BYTES, _pointer(builder, each, _BYTES), count, 1)
            for each in addresses
        ]
        return _interleaved(builder, rows)

    return i32x(*[types.int64] * 5), codegen


def _make_maximum(is_signed: bool) -> Any:
    bytes_ = ir.VectorType(I8, 4 * LANES)

    @intrinsic
    def maximum(typingctx, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            compare = builder.icmp_signed if is_signed else builder.icmp_unsigned
            first, second = (builder.bitcast(each, bytes_) for each in args)
            larger = builder.select(compare(">", first, second), first, second)
            return builder.bitcast(larger, i32x.llvm)

        return i32x(i32x, i32x), codegen

    return maximum


vmax_i8, vmax_u8 = _make_maximum(True), _make_maximum(False)
"""The larger one of each two bytes of words."""
