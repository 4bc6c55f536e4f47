"""Loads and stores of vectors by what memory holds.

Vectors of int32 have its elements, all others float32: what integers of 8 and 16 bits hold, and
floats of 16, float32 holds exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from . import narrow_floats
from .half_vectors import emit_exactly_rounded
from .halves import widen_bf16
from .simd import (
    SCALARS,
    call_by_name,
    element_at,
    emit_first,
    load_first_lanes,
    mangled,
    vload,
    vload_first,
    vload_i32,
    vload_i32_first,
    vstore,
    vstore_first,
    vstore_i32,
    vstore_i32_first,
)
from .target import LANES
from .vectors import F16, I8, I16, I32, f32x, i32x, intrinsic

Conversion = Callable[[ir.IRBuilder, Any], Any]

_SHORTS = ir.VectorType(I16, LANES)


def _conversions(name: str) -> tuple[ir.Type, Conversion, Conversion]:
    """What memory holds, and how it becomes float32 and float32 becomes it."""
    if name == "f16":
        half = ir.VectorType(F16, LANES)
        return (
            I16,
            lambda builder, bits: builder.fpext(builder.bitcast(bits, half), f32x.llvm),
            lambda builder, value: builder.bitcast(builder.fptrunc(value, half), _SHORTS),
        )
    if name == "bf16":
        return (
            I16,
            lambda builder, bits: widen_bf16(builder, bits, i32x.llvm, f32x.llvm),
            emit_exactly_rounded,
        )
    if name in narrow_floats.NAMES:
        whole, codes = ir.VectorType(I32, LANES), ir.VectorType(I8, LANES)
        number, code = narrow_floats.emit_number, narrow_floats.emit_code
        return (
            I8,
            lambda builder, bits: number(builder, builder.zext(bits, whole), name),
            lambda builder, value: builder.trunc(code(builder, value, name, "free"), codes),
        )
    element, is_signed = SCALARS[name][1], name[0] == "i"

    def widened(builder: ir.IRBuilder, value: Any) -> Any:
        return (builder.sitofp if is_signed else builder.uitofp)(value, f32x.llvm)

    def narrowed(builder: ir.IRBuilder, value: Any) -> Any:
        return builder.trunc(builder.fptosi(value, i32x.llvm), ir.VectorType(element, LANES))

    return element, widened, narrowed


def _make_narrow_memory(name: str) -> tuple[Any, Any, Any, Any]:
    """Loads as vectors of float32, and stores of such: as integers those of whole numbers."""
    element, widened, narrowed = _conversions(name)
    narrow, align = ir.VectorType(element, LANES), element.width // 8

    def pointer_to(builder: ir.IRBuilder, address: Any, index: Any) -> Any:
        return builder.bitcast(element_at(builder, address, index, element), narrow.as_pointer())

    @intrinsic
    def load(typingctx, address, index):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = pointer_to(builder, *args)
            return widened(builder, builder.load(pointer, align=align))

        return f32x(types.int64, types.int64), codegen

    @intrinsic
    def store(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = pointer_to(builder, *args[:2])
            builder.store(narrowed(builder, args[2]), pointer, align=align)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, f32x), codegen

    @intrinsic
    def load_first(typingctx, address, index, count):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = pointer_to(builder, *args[:2])
            return widened(builder, load_first_lanes(builder, narrow, pointer, args[2], align))

        return f32x(types.int64, types.int64, types.int64), codegen

    @intrinsic
    def store_first(typingctx, address, index, value, count):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = pointer_to(builder, *args[:2])
            mask = emit_first(builder, args[3])
            values = [narrowed(builder, args[2]), pointer, I32(align), mask]
            full = f"llvm.masked.store.{mangled(narrow)}.p0"
            call_by_name(builder, full, ir.VoidType(), values)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, f32x, types.int64), codegen

    return load, store, load_first, store_first


_NARROW = ("i8", "u8", "i16", "u16", "f16", "bf16", *narrow_floats.NAMES)

VECTOR_MEMORY = (
    {"f32": (vload, vstore, vload_first, vstore_first)}
    | {name: _make_narrow_memory(name) for name in _NARROW}
    | {"i32": (vload_i32, vstore_i32, vload_i32_first, vstore_i32_first)}
)
"""Load, store, and those of the first lanes, by the names of element types."""

ITEM_BYTES = {"f32": 4, "i8": 1, "u8": 1, "i16": 2, "u16": 2, "f16": 2, "bf16": 2, "i32": 4}
ITEM_BYTES |= dict.fromkeys(narrow_floats.NAMES, 1)
"""Bytes of a number in memory, by the names of element types."""
