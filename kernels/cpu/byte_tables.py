"""Functions of bytes by the tables of their 256 results."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from ..registry import Pointer, kernel
from ..simd import call_by_name, element_at, load_u8, store_u8
from ..target import LANES, has_feature
from ..vectors import intrinsic

HAS_TABLES = LANES == 16 and has_feature("avx512vbmi")
"""Whether the processor looks up 64 bytes at a time."""

_BLOCK = 64
_BYTE = ir.IntType(8)
_BYTES = ir.VectorType(_BYTE, _BLOCK)
_LOOK_UP = "llvm.x86.avx512.vpermi2var.qi.512"


@intrinsic
def _look_up_block(typingctx, x, table, y):  # type: ignore[no-untyped-def]
    """Write to address y what a table has for each of 64 bytes at address x."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        def at(address: Any, offset: int) -> Any:
            pointer = element_at(builder, address, ir.Constant(ir.IntType(64), offset), _BYTE)
            return builder.bitcast(pointer, _BYTES.as_pointer())

        places = builder.load(at(args[0], 0), align=1)
        quarters = [builder.load(at(args[1], _BLOCK * i), align=1) for i in range(4)]
        # The lower seven bits of a byte are a place in two quarters.
        halves = [
            call_by_name(builder, _LOOK_UP, _BYTES, [quarters[i], places, quarters[i + 1]])
            for i in (0, 2)
        ]
        is_upper = builder.icmp_signed("<", places, ir.Constant(_BYTES, [0] * _BLOCK))
        builder.store(builder.select(is_upper, halves[1], halves[0]), at(args[2], 0), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@kernel
def look_up_bytes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, table: Pointer, y: Pointer, n: int,
) -> int:  # fmt: skip
    """y[i] = table[x[i]], all of them bytes; x and y are dense. Elements are split into parts."""
    blocks = (n + _BLOCK - 1) // _BLOCK
    first = blocks * part // parts * _BLOCK
    last = min(blocks * until // parts * _BLOCK, n)
    if HAS_TABLES:
        while first + _BLOCK <= last:
            _look_up_block(x + first, table, y + first)
            first += _BLOCK
    for i in range(first, last):
        store_u8(y, i, load_u8(table, load_u8(x, i)))
    return 0
