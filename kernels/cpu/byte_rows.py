"""Panels of whole numbers, multiplied by a few rows of bytes at a time (`byte_blocks`).

Weights are unsigned bytes in registers, four rows of a column in a word, so that one instruction
multiplies four and adds their products to an int32. No sum of a block overflows.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from .. import simd
from ..arithmetic import ARITHMETIC
from ..emitter import BYTE, Emitter
from ..target import LANES
from ..vectors import F32, I8, I32, I64, f32x, i32x, intrinsic
from .byte_blocks import FINER
from .packed_rows import fetch_ahead, load_scales
from .packed_weights import BITS, VECTORS, rows_of_unit, unit_bytes
from .weight_streams import least_head_bytes


class _ByteRows(Emitter):
    """Emits ``c[r, :] += sum over k of x[r, k] * (w[k, :] - zero) * scale`` for some blocks."""

    def __init__(
        self, builder: ir.IRBuilder, kind: str, scales: str, rows: int, every: int, terms: int
    ) -> None:
        super().__init__(builder)
        self.form, self.scales, self.rows, self.every = kind, scales, rows, every
        self.terms = terms
        self.each = rows_of_unit(kind) // 4  # words of each column
        # Chains of multiply-adds that are long enough to hide their latency.
        self.sets = 2 if rows == 1 and self.each > 1 else 1

    def emit(
        self, x: Any, x_row: Any, w: Any, scales: Any, zeros: Any, zero: Any, apart: Any, gap: Any,
        block: Any, tail: Any, blocks: Any, units: Any, c: Any, ahead: Any, ahead_step: Any,
        ahead_gap: Any,
    ) -> None:  # fmt: skip
        builder = self.builder
        # What is asked for is a stream where it moves on as the weights do.
        self.is_stream = builder.icmp_signed("==", ahead_step, I64(unit_bytes(self.form)))
        is_given = builder.icmp_signed("!=", zeros, I64(0))
        x, w, scales, zeros, c, ahead = (
            builder.inttoptr(p, BYTE) for p in (x, w, scales, zeros, c, ahead)
        )
        distances = [builder.mul(x_row, I64(r)) for r in range(self.rows)]
        count = self.rows // self.terms * VECTORS
        targets = [self.address(c, I64(i * LANES * 4)) for i in range(count)]

        def add_block(_: Any, carried: list[Any]) -> list[Any]:
            number, weights, later, scale, zero_at, *totals = carried
            head = least_head_bytes(self.form, self.scales)
            fetch_ahead(self, later, head, self.every, self.is_stream)
            later = self.address(later, ahead_gap)
            numbers = [self.address(number, distance) for distance in distances]
            tails = [self.address(at, block) for at in numbers]
            starts = self._starts(tails, is_given, zero_at, zero)
            streams, sums = self._sums(numbers, [weights, later], units, starts, ahead_step)
            totals = self._scaled(tails, scale, sums, totals)
            following = self.address(tails[0], tail)
            streams[0] = self.address(streams[0], gap)
            heads = [self.address(at, apart) for at in (scale, zero_at)]
            return [following, *streams, *heads, *totals]

        first = [x, w, ahead, scales, zeros, *(self.vector_load(target) for target in targets)]
        results = self.counted_loop("block", blocks, first, add_block)
        for value, target in zip(results[5:], targets, strict=True):
            self.vector_store(value, target)

    def _load(self, kind: ir.Type, pointer: Any, offset: int = 0) -> Any:
        at = self.address(pointer, I64(offset))
        return self.builder.load(self.builder.bitcast(at, kind.as_pointer()), align=1)

    def _starts(self, tails: list[Any], is_given: Any, zeros: Any, zero: Any) -> list[Any]:
        """What sums begin with: the sums of the rows' numbers times the zeros come off."""
        builder = self.builder
        totals = [builder.neg(self._load(I32, tail, 4)) for tail in tails]

        def given() -> list[Any]:
            narrow = ir.VectorType(I8, LANES)
            points = [
                builder.zext(self._load(narrow, zeros, v * LANES), i32x.llvm)
                for v in range(VECTORS)
            ]
            spread = [simd.emit_splat(builder, total) for total in totals]
            return [builder.mul(total, point) for total in spread for point in points]

        def one() -> list[Any]:
            point = builder.trunc(zero, I32)
            spread = [simd.emit_splat(builder, builder.mul(total, point)) for total in totals]
            return [value for value in spread for _ in range(VECTORS)]

        merged: list[Any] = self.choose(is_given, given, one)
        return merged

    def _sums(
        self, numbers: list[Any], streams: list[Any], units: Any, starts: list[Any],
        ahead_step: Any,
    ) -> tuple[list[Any], list[Any]]:  # fmt: skip
        """Sums of a block, and pointers behind its weights and what is fetched meanwhile."""
        builder, count, end = self.builder, len(starts), 2 + self.rows

        def multiply(_: Any, carried: list[Any]) -> list[Any]:
            (weights, ahead), at, sums = carried[:2], carried[2:end], carried[end:]
            packed = [self._load(i32x.llvm, weights, v * LANES * 4) for v in range(VECTORS)]
            fetch_ahead(self, ahead, unit_bytes(self.form), self.every, self.is_stream)
            for i in range(self.each):
                spread = [simd.emit_splat(builder, self._load(I32, row, i * 4)) for row in at]
                for v, word in enumerate(packed):
                    factor = self._bytes(word, i)
                    for r, row in enumerate(spread):
                        own = i % self.sets * count + r * VECTORS + v
                        sums[own] = ARITHMETIC["u8"].add_product(builder, factor, row, sums[own])
            at = [self.address(row, I64(self.each * 4)) for row in at]
            weights = self.address(weights, I64(unit_bytes(self.form)))
            return [weights, self.address(ahead, ahead_step), *at, *sums]

        zeros = [ir.Constant(i32x.llvm, None)] * (count * (self.sets - 1))
        first = [*streams, *numbers, *starts, *zeros]
        results = self.counted_loop("unit", units, first, multiply)
        streams, sums = results[:2], results[end:]
        while len(sums) > count:
            sums = [builder.add(a, b) for a, b in zip(sums[:count], sums[count:], strict=True)]
        return streams, sums

    def _bytes(self, word: Any, i: int) -> Any:
        """Weights of the rows ``4 * i`` to ``4 * i + 3`` of a unit."""
        builder, bits = self.builder, BITS[self.form]
        if bits == 8:
            return word
        number = builder.lshr(word, _numbers(bits * i)) if i else word
        return builder.and_(number, _numbers(((1 << bits) - 1) * 0x01010101))

    def _scaled(
        self, tails: list[Any], scales: Any, sums: list[Any], totals: list[Any]
    ) -> list[Any]:
        builder = self.builder
        if self.terms == 2:  # sums of first terms count `byte_blocks.FINER` of the second's
            shift, pairs = _numbers(FINER.bit_length() - 1), []
            for row in range(0, len(sums), 2 * VECTORS):
                first, second = sums[row : row + VECTORS], sums[row + VECTORS : row + 2 * VECTORS]
                pairs += [
                    builder.add(builder.shl(high, shift), low)
                    for high, low in zip(first, second, strict=True)
                ]
            tails, sums = tails[1::2], pairs
        steps = [simd.emit_splat(builder, self._load(F32, tail)) for tail in tails]
        factors = [load_scales(self, scales, v, self.scales) for v in range(VECTORS)]
        return [
            self.fma(
                builder.fmul(builder.sitofp(sums[i], f32x.llvm), steps[i // VECTORS]),
                factors[i % VECTORS],
                total,
            )
            for i, total in enumerate(totals)
        ]


def _numbers(value: int) -> Any:
    return ir.Constant(i32x.llvm, [value] * LANES)


@intrinsic(prefer_literal=True)
def byte_rows(  # type: ignore[no-untyped-def]
    typingctx, kind, form, rows, every, terms, x, x_row, w, scales, zeros, zero, apart, gap, block,
    tail, blocks, units, c, ahead, ahead_step, ahead_gap,
):  # fmt: skip
    """Multiply ``rows`` rows, ``x_row`` bytes apart, by ``blocks`` blocks of a panel; see above.

    The sums are added to (rows, PANEL) at ``c``. A block of a row has ``block`` numbers and a
    ``tail``, one of weights ``units`` units, behind which a ``gap`` of bytes follows, and its
    scales of ``form``, and its zeros if there are any, lie ``apart`` bytes from those of the one
    before; else all have one ``zero``. With two ``terms`` each two rows have one of sums. What is
    asked for meanwhile is as in `packed_rows`.
    """
    parameters = [each.literal_value for each in (kind, form, rows, every, terms)]

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        _ByteRows(builder, *parameters).emit(*values[5:])
        return context.get_dummy_value()

    return types.void(kind, form, rows, every, terms, *[types.int64] * 16), codegen
