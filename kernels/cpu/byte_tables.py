"""Functions of bytes by the tables of their 256 results.

AVX-512 VBMI looks up 128 entries at once, NEON 64. Other processors have a shuffle of the bytes of
a vector alone, by the lower four bits of each place (`_of_sixteen`): it takes about 40 instructions
for a vector of places, 32 or 64, which is a quarter of what a load and a store for each byte take.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from ..registry import Pointer, kernel
from ..simd import align_frame, call_by_name, element_at, load_u8, store_u8
from ..target import LANES, MACHINE, has_feature
from ..vectors import intrinsic

_BYTE, _PLACE = ir.IntType(8), ir.IntType(64)
_BLOCK = 4 * LANES
"""Bytes of a vector."""
_BYTES = ir.VectorType(_BYTE, _BLOCK)
_TABLE, _ROW = 256, 16

_LOOK_UP = "llvm.x86.avx512.vpermi2var.qi.512"
HAS_LOOK_UP = LANES == 16 and has_feature("avx512vbmi")
"""Whether the processor looks up 128 entries at once."""
SHUFFLE = {8: "llvm.x86.avx2.pshuf.b", 16: "llvm.x86.avx512.pshuf.b.512"}.get(LANES, "")
_HAS_NEON = MACHINE == "aarch64"
_NEON_LOOK_UP, _REGISTERS = "llvm.aarch64.neon.tbl4.v16i8", 4
"""Instruction of NEON that looks up as many registers of entries; places behind them give 0."""
HAS_TABLES = HAS_LOOK_UP or _HAS_NEON or LANES == 8 or (LANES == 16 and has_feature("avx512bw"))
"""Whether the processor looks up a vector of bytes at a time."""

_Found = Callable[[Any], Any]
"""Emits what a table has for a vector of places."""
_FoundTogether = Callable[[list[Any]], list[Any]]
"""Emits what a table has for several such vectors."""
_TOGETHER = 1 if HAS_LOOK_UP else 2
"""Vectors that are looked up at a time."""


def of_quarters(builder: ir.IRBuilder, at: Callable[[int], Any]) -> _Found:
    """Look up places in a table at an address, by two quarters of it at once."""
    quarters = [
        builder.load(builder.bitcast(at(_BLOCK * i), _BYTES.as_pointer()), align=1)
        for i in range(_TABLE // _BLOCK)
    ]

    def found(places: Any) -> Any:
        # The lower seven bits of a byte are a place in two quarters.
        halves = [
            call_by_name(builder, _LOOK_UP, _BYTES, [quarters[i], places, quarters[i + 1]])
            for i in (0, 2)
        ]
        return builder.select(_is_upper(builder, places), halves[1], halves[0])

    return found


def _of_registers(builder: ir.IRBuilder, at: Callable[[int], Any]) -> _Found:
    """Look up places in a table at an address, by NEON's instruction."""
    rows = [
        builder.load(builder.bitcast(at(_BLOCK * i), _BYTES.as_pointer()), align=1)
        for i in range(_TABLE // _BLOCK)
    ]

    def found(places: Any) -> Any:
        quarters = []
        for first in range(0, len(rows), _REGISTERS):
            start = ir.Constant(_BYTES, [first * _BLOCK] * _BLOCK)
            own = [*rows[first : first + _REGISTERS], builder.sub(places, start)]
            quarters.append(call_by_name(builder, _NEON_LOOK_UP, _BYTES, own))
        return functools.reduce(builder.or_, quarters)

    return found


def _of_sixteen(builder: ir.IRBuilder, at: Callable[[int], Any]) -> _FoundTogether:
    """Look up vectors of places in a table at an address, by rows of sixteen entries.

    Vectors take turns, since there are fewer registers than rows.

    A shuffle gives an entry of a row, or 0 where the highest bit of a place is set. That of a place
    below 128 less 16 for each row is set from the row on that is behind its own; that of a place
    from 128 on is set up to its own row of the upper half. So entries are what the rows up to
    their own give together, of the upper half those behind: rows hold differences (XOR) from their
    neighbours, and both halves take the same places.
    """
    row, lanes = ir.VectorType(_BYTE, _ROW), ir.VectorType(ir.IntType(32), _BLOCK)
    rows = [
        builder.load(builder.bitcast(at(_ROW * i), row.as_pointer()), align=1)
        for i in range(_TABLE // _ROW)
    ]
    spread = ir.Constant(lanes, [i % _ROW for i in range(_BLOCK)])
    lower, upper = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    changes = [
        [lower[0], *(builder.xor(a, b) for a, b in itertools.pairwise(lower))],
        [*(builder.xor(a, b) for a, b in itertools.pairwise(upper)), upper[-1]],
    ]
    tables = [[builder.shuffle_vector(a, a, spread) for a in half] for half in changes]
    step = ir.Constant(_BYTES, [_ROW] * _BLOCK)

    def entries(table: Any, places: list[Any], sums: list[Any]) -> list[Any]:
        own = [call_by_name(builder, SHUFFLE, _BYTES, [table, each]) for each in places]
        return [builder.xor(a, b) for a, b in zip(sums, own, strict=True)] if sums else own

    def found(places: list[Any]) -> list[Any]:
        shifted = places
        first: list[Any] = []
        second: list[Any] = []
        for below, above in zip(*tables, strict=True):
            first = entries(below, shifted, first)
            shifted = [builder.sub(each, step) for each in shifted]
            second = entries(above, shifted, second)
        return [
            builder.select(_is_upper(builder, own), b, a)
            for own, a, b in zip(places, first, second, strict=True)
        ]

    return found


def _of_any(builder: ir.IRBuilder, at: Callable[[int], Any]) -> _FoundTogether:
    """Look up vectors of places in a table at an address in the way the processor has."""
    if not HAS_LOOK_UP and not _HAS_NEON:
        return _of_sixteen(builder, at)
    found = (of_quarters if HAS_LOOK_UP else _of_registers)(builder, at)
    return lambda places: [found(each) for each in places]


def _is_upper(builder: ir.IRBuilder, places: Any) -> Any:
    """Emit which places are 128 and more."""
    return builder.icmp_signed("<", places, ir.Constant(_BYTES, [0] * _BLOCK))


@intrinsic
def _look_up_blocks(typingctx, x, table, y, blocks):  # type: ignore[no-untyped-def]
    """Write to address y what a table has for each byte of so many blocks at address x."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        align_frame(builder)

        def at(address: Any, offset: Any) -> Any:
            return element_at(builder, address, offset, _BYTE)

        def block(address: Any, index: Any) -> Any:
            pointer = at(address, builder.mul(index, ir.Constant(_PLACE, _BLOCK)))
            return builder.bitcast(pointer, _BYTES.as_pointer())

        found = _of_any(builder, lambda offset: at(args[1], ir.Constant(_PLACE, offset)))

        def look_up(first: Any, count: int) -> None:
            numbers = [builder.add(first, ir.Constant(_PLACE, i)) for i in range(count)]
            places = [builder.load(block(args[0], each), align=1) for each in numbers]
            for number, result in zip(numbers, found(places), strict=True):
                builder.store(result, block(args[2], number), align=1)

        together = ir.Constant(_PLACE, _TOGETHER)
        turns = builder.sdiv(args[3], together)
        with cgutils.for_range(builder, turns) as loop:
            look_up(builder.mul(loop.index, together), _TOGETHER)
        with cgutils.for_range(builder, builder.srem(args[3], together)) as loop:
            look_up(builder.add(builder.mul(turns, together), loop.index), 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


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
        whole = max(last - first, 0) // _BLOCK
        _look_up_blocks(x + first, table, y + first, whole)
        first += whole * _BLOCK
    for i in range(first, last):
        store_u8(y, i, load_u8(table, load_u8(x, i)))
    return 0
