"""Loads and stores of vectors by what memory holds.

Vectors of int32 have its elements, all others float32: what integers of 8 and 16 bits hold float32
holds exactly.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

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
from .vectors import I32, f32x, i32x, intrinsic


def _make_integer_memory(name: str) -> tuple[Any, Any, Any, Any]:
    """Loads of integers as vectors of float32, and stores of such that are whole numbers."""
    element, is_signed = SCALARS[name][1], name[0] == "i"
    narrow, align = ir.VectorType(element, LANES), element.width // 8

    def pointer_to(builder: ir.IRBuilder, address: Any, index: Any) -> Any:
        return builder.bitcast(element_at(builder, address, index, element), narrow.as_pointer())

    def widened(builder: ir.IRBuilder, value: Any) -> Any:
        convert = builder.sitofp if is_signed else builder.uitofp
        return convert(value, f32x.llvm)

    def narrowed(builder: ir.IRBuilder, value: Any) -> Any:
        return builder.trunc(builder.fptosi(value, i32x.llvm), narrow)

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


VECTOR_MEMORY = (
    {"f32": (vload, vstore, vload_first, vstore_first)}
    | {name: _make_integer_memory(name) for name in ("i8", "u8", "i16", "u16")}
    | {"i32": (vload_i32, vstore_i32, vload_i32_first, vstore_i32_first)}
)
"""Load, store, and those of the first lanes, by the names of element types."""
