"""Functions of bytes times a factor for each channel, as bytes again: gates.

The function is a table of 256 float32, which lie as four tables of bytes, so that four lookups of
bytes give 64 numbers (`byte_tables`). They come in the order of `STORED`, which what packs bytes
turns back; factors are stored in that order.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types

from ..byte_packing import HAS_PACKS, Limits, emit_quarters
from ..registry import Pointer, kernel
from ..simd import (
    call_by_name,
    element_at,
    emit_splat,
    load_first_lanes,
    mangled,
    store_first_lanes,
)
from ..target import LANES
from ..vectors import I8, I16, I32, I64, f32x, intrinsic
from .byte_tables import HAS_LOOK_UP, of_quarters
from .quads import limits

HAS_SCALED_BYTES = HAS_LOOK_UP and HAS_PACKS
"""Whether the processor has what this needs."""
BLOCK = 4 * LANES
"""Numbers that are done at a time."""
STORED = (1, 0, 2)
"""Order of the axes of a block of 4 x 4 x 4 numbers, as factors are stored."""

_BYTES, _FOURTHS = ir.VectorType(I8, BLOCK), 4
_TABLE = 256


def _unpacked(builder: ir.IRBuilder, a: Any, b: Any, element: ir.Type, upper: int) -> Any:
    """Emit the lower or upper halves of each quarter of two vectors, by turns."""
    vector = ir.VectorType(element, BLOCK * 8 // element.width)
    size = vector.count // _FOURTHS
    order = [
        source * vector.count + quarter * size + upper * size // 2 + i
        for quarter in range(_FOURTHS)
        for i in range(size // 2)
        for source in range(2)
    ]
    operands = [builder.bitcast(each, vector) for each in (a, b)]
    mask = ir.Constant(ir.VectorType(I32, vector.count), order)
    return builder.shuffle_vector(*operands, mask)


def _floats(builder: ir.IRBuilder, planes: list[Any]) -> list[Any]:
    """Emit four vectors of float32 whose bytes lie in four planes, in the order of `STORED`."""
    halves = [
        _unpacked(builder, planes[first], planes[first + 1], I8, upper)
        for upper in (0, 1)
        for first in (0, 2)
    ]
    return [
        builder.bitcast(_unpacked(builder, halves[first], halves[first + 1], I16, upper), f32x.llvm)
        for first in (0, 2)
        for upper in (0, 1)
    ]


def _quotient(builder: ir.IRBuilder, value: Any, scale: Any, inverse: Any) -> Any:
    """Emit correctly rounded quotients, as `quotients.rounded_quotient`."""

    def fma(*operands: Any) -> Any:
        return call_by_name(builder, f"llvm.fma.{mangled(f32x.llvm)}", f32x.llvm, list(operands))

    near = builder.fmul(value, inverse)
    exact = fma(fma(builder.fneg(near), scale, value), inverse, near)
    return builder.select(builder.fcmp_ordered("==", exact, exact), exact, near)


@intrinsic
def _scale_blocks(  # type: ignore[no-untyped-def]
    typingctx, x, y, table, factors, period, phase, blocks, rest, scale, inverse, low,
    high, zero,
):  # fmt: skip
    """Scale so many blocks at x, and a last one of ``rest`` numbers."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        x, y, table, factors, period, phase, blocks, rest, *numbers, zero = args
        scale, inverse, low, high = (emit_splat(builder, number) for number in numbers)
        ends = Limits(low, high, emit_splat(builder, builder.trunc(zero, I32)))
        found = [
            of_quarters(
                builder,
                lambda offset, plane=plane: element_at(
                    builder, table, I64(plane * _TABLE + offset), I8
                ),
            )
            for plane in range(_FOURTHS)
        ]
        turn = cgutils.alloca_once_value(builder, phase)

        def at(address: Any, index: Any, vector: Any) -> Any:
            place = element_at(builder, address, index, I8)
            return builder.bitcast(place, vector.as_pointer())

        def numbers_at(address: Any, own: Any, i: int) -> Any:
            place = builder.add(builder.mul(own, I64(4 * BLOCK)), I64(4 * LANES * i))
            return builder.load(at(address, place, f32x.llvm), align=4)

        def scaled(places: Any) -> Any:
            own = builder.load(turn)
            values = _floats(builder, [each(places) for each in found])
            for i, value in enumerate(values):
                value = builder.fmul(value, numbers_at(factors, own, i))
                values[i] = _quotient(builder, value, scale, inverse)
            following = builder.add(own, I64(1))
            is_over = builder.icmp_signed("==", following, period)
            builder.store(builder.select(is_over, I64(0), following), turn)
            return emit_quarters(builder, values, ends)

        with cgutils.for_range(builder, blocks) as loop:
            first = builder.mul(loop.index, I64(BLOCK))
            places = builder.load(at(x, first, _BYTES), align=1)
            builder.store(scaled(places), at(y, first, _BYTES), align=1)
        with builder.if_then(builder.icmp_signed(">", rest, I64(0))):
            first = builder.mul(blocks, I64(BLOCK))
            places = load_first_lanes(builder, _BYTES, at(x, first, _BYTES), rest, 1)
            store_first_lanes(builder, scaled(places), at(y, first, _BYTES), rest)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 8, *[types.float32] * 4, types.int64), codegen


@njit
def _scale(
    x: Pointer, y: Pointer, table: Pointer, factors: Pointer, period: int, first: int, last: int,
    count: int, scale: Any, zero: Pointer, is_signed: int,
) -> None:  # fmt: skip
    """Scale some blocks of an image."""
    bottom = -128 if is_signed != 0 else 0
    point, low, high = limits(zero, is_signed, bottom, bottom + 255)
    start, end = first * BLOCK, min(last * BLOCK, count)
    blocks = (end - start) // BLOCK
    _scale_blocks(
        x + start, y + start, table, factors, period, first % period, blocks,
        end - start - blocks * BLOCK, scale, np.float32(1.0) / scale, low, high, point,
    )  # fmt: skip


@kernel
def scaled_bytes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, table: Pointer, factors: Pointer, images: int, count: int, period: int,
    f_image: int, scale: float, zero: Pointer, is_signed: int,
) -> int:  # fmt: skip
    """Y = bytes(table[x] * factor / scale + zero), channels last.

    Images of ``count`` dense bytes each; ``table`` has the bytes of 256 float32 in four planes.
    Factors are ``period`` blocks, in their order, over and over; those of an image are ``f_image``
    elements after those of the one before. Blocks of all images are split into parts.
    """
    each = (count + BLOCK - 1) // BLOCK
    block, until_block = images * each * part // parts, images * each * until // parts
    while block < until_block:
        image, first = block // each, block % each
        last = min(each, first + until_block - block)
        _scale(
            x + image * count, y + image * count, table, factors + image * f_image * 4, period,
            first, last, count, np.float32(scale), zero, is_signed,
        )  # fmt: skip
        block += last - first
    return 0
