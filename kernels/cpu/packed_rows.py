"""Panels of small weights, which are widened in registers: multiplied by a few rows at a time.

Such a product is bound by the stream of its weights, so what widening costs is hidden as long as
it is less than a load takes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types

from .. import simd
from ..emitter import BYTE, Emitter, constant
from ..halves import widen_bf16
from ..target import LANES
from ..vector_memory import ITEM_BYTES
from ..vectors import F16, F32, I8, I16, I32, I64, f32x, i32x, intrinsic
from .packed_weights import (
    BITS,
    LAST_BITS,
    MAGIC,
    PANEL,
    VECTORS,
    is_whole,
    rows_of_unit,
    unit_bytes,
)
from .weight_streams import least_head_bytes

_LINE = 64
"""Bytes of a cache line."""


def fetch_ahead(emitter: Emitter, ahead: Any, count: int, every: int, is_stream: Any) -> None:
    """Ask for so many bytes of weights that are not needed yet (`packed_product.panel_loop`).

    Of a stream the first of each ``every`` cache lines is asked for (`fetch_forms`). What is none
    is a part of a panel, which nothing reads for long: no processor follows it by itself.
    """
    builder = emitter.builder
    lines = range(0, count, _LINE)
    for line in lines[::every]:
        simd.prefetch_line(builder, emitter.address(ahead, I64(line)))
    if every > 1:
        with builder.if_then(builder.not_(is_stream), likely=False):
            for line in lines:
                if line % (_LINE * every):
                    simd.prefetch_line(builder, emitter.address(ahead, I64(line)))


def load_scales(emitter: Emitter, scales: Any, v: int, kind: str) -> Any:
    """Load a vector of scales, of float32 or float16, as float32."""
    at = emitter.address(scales, I64(v * LANES * ITEM_BYTES[kind]))
    if kind == "f32":
        return emitter.vector_load(at)
    halves = ir.VectorType(F16, LANES)
    builder = emitter.builder
    loaded = builder.load(builder.bitcast(at, halves.as_pointer()), align=2)
    return builder.fpext(loaded, f32x.llvm)


class _PackedRows(Emitter):
    """Emits ``c[r, :] += sum over k of x[r, k] * widened(w[k, :])`` for some blocks of rows k."""

    def __init__(
        self, builder: ir.IRBuilder, kind: str, scales: str, rows: int, every: int
    ) -> None:
        super().__init__(builder)
        self.form, self.scales, self.rows, self.every = kind, scales, rows, every
        # Chains of multiply-adds that are long enough to hide their latency.
        self.sets = 2 if rows == 1 else 1

    def emit(
        self, x: Any, x_row: Any, w: Any, scales: Any, zeros: Any, zero: Any, apart: Any, gap: Any,
        blocks: Any, units: Any, c: Any, ahead: Any, ahead_step: Any, ahead_gap: Any,
    ) -> None:  # fmt: skip
        builder = self.builder
        # What is asked for is a stream where it moves on as the weights do.
        self.is_stream = builder.icmp_signed("==", ahead_step, I64(unit_bytes(self.form)))
        is_given = builder.icmp_signed("!=", zeros, I64(0))
        base = simd.emit_splat(builder, builder.fptrunc(zero, F32))
        x, w, scales, zeros, c, ahead = (
            builder.inttoptr(p, BYTE) for p in (x, w, scales, zeros, c, ahead)
        )
        targets = [
            self.address(c, I64((r * PANEL + v * LANES) * 4))
            for r in range(self.rows)
            for v in range(VECTORS)
        ]

        def add_block(_: Any, carried: list[Any]) -> list[Any]:
            number, weights, following, scale, zero_at, *sums = carried
            head = least_head_bytes(self.form, self.scales)
            fetch_ahead(self, following, head, self.every, self.is_stream)
            following = self.address(following, ahead_gap)
            bases = self._bases(is_given, zero_at, base)
            places, parts = self._block(
                [number, weights, following], x_row, units, bases, ahead_step
            )
            if is_whole(self.form):
                factors = [load_scales(self, scale, v, self.scales) for v in range(VECTORS)]
                pairs = zip(parts, factors * self.rows, sums, strict=True)
                sums = [self.fma(part, factor, s) for part, factor, s in pairs]
            else:
                sums = [builder.fadd(a, b) for a, b in zip(parts, sums, strict=True)]
            places[1] = self.address(places[1], gap)
            heads = [self.address(at, apart) for at in (scale, zero_at)]
            return [*places, *heads, *sums]

        first = [x, w, ahead, scales, zeros, *(self.vector_load(target) for target in targets)]
        results = self.counted_loop("block", blocks, first, add_block)
        for value, target in zip(results[5:], targets, strict=True):
            self.vector_store(value, target)

    def _bases(self, is_given: Any, zeros: Any, base: Any) -> list[Any]:
        """What numbers in the last bits of 2 ** 23 are larger by than the weights without scale."""
        builder = self.builder
        large = constant(float(1 << 23))
        if not is_whole(self.form):
            return []

        def given() -> list[Any]:
            kind = ir.VectorType(I8, LANES)
            loaded = [
                builder.load(
                    builder.bitcast(self.address(zeros, I64(v * LANES)), kind.as_pointer()), align=1
                )
                for v in range(VECTORS)
            ]
            return [builder.fadd(builder.uitofp(each, f32x.llvm), large) for each in loaded]

        one = [builder.fadd(base, large)] * VECTORS
        merged: list[Any] = self.choose(is_given, given, lambda: one)
        return merged

    def _block(
        self, places: list[Any], x_row: Any, units: Any, bases: list[Any], ahead_step: Any
    ) -> tuple[list[Any], list[Any]]:
        """Pointers to rows, weights and what is fetched, behind a block, and its sums."""
        builder, each = self.builder, rows_of_unit(self.form)
        count = self.rows * VECTORS

        def multiply(_: Any, carried: list[Any]) -> list[Any]:
            at, weight_at, ahead, *sums = carried
            widened = self._unit(weight_at, bases)
            fetch_ahead(self, ahead, unit_bytes(self.form), self.every, self.is_stream)
            rows = [self.address(at, builder.mul(x_row, I64(r * 4))) for r in range(self.rows)]
            for i in range(each):
                factors = widened(i)
                first = i % self.sets * count
                for r, row in enumerate(rows):
                    begin = first + r * VECTORS
                    own = sums[begin : begin + VECTORS]
                    place = self.address(row, I64(i * 4))
                    sums[begin : begin + VECTORS] = self.add_products(place, factors, own, False)
            following = self.address(weight_at, I64(unit_bytes(self.form)))
            ahead = self.address(ahead, ahead_step)
            return [self.address(at, I64(each * 4)), following, ahead, *sums]

        zeros = [constant(0.0)] * (count * self.sets)
        results = self.counted_loop("unit", units, [*places, *zeros], multiply)
        places, sums = results[:3], results[3:]
        while len(sums) > count:
            sums = [builder.fadd(a, b) for a, b in zip(sums[:count], sums[count:], strict=True)]
        return places, sums

    def _unit(self, weights: Any, bases: list[Any]) -> Callable[[int], list[Any]]:
        """Load a unit; the result gives the vectors of one of its rows, without their scale."""
        if self.form == "f24":
            floats = self._short_floats(weights)
            return lambda i: floats[i * VECTORS : (i + 1) * VECTORS]
        words = [self._words(weights, v) for v in range(VECTORS)]
        return lambda i: [self._widened(word, i, bases, v) for v, word in enumerate(words)]

    def _short_floats(self, weights: Any) -> list[Any]:
        """Four vectors of float32, the last of which has bytes of the three that are loaded."""
        builder = self.builder
        words = [
            builder.bitcast(self.vector_load(self.address(weights, I64(v * LANES * 4))), i32x.llvm)
            for v in range(3)
        ]
        last = _numbers(0)
        for v, word in enumerate(words):
            byte = builder.and_(word, _numbers(LAST_BITS))
            last = builder.or_(last, builder.shl(byte, _numbers(8 * (v + 1))))
        return [builder.bitcast(each, f32x.llvm) for each in (*words, last)]

    def _words(self, weights: Any, v: int) -> Any:
        """Load the words, or the halves, of a vector of columns."""
        builder = self.builder
        whole = is_whole(self.form)
        element = I32 if whole else I16
        kind = ir.VectorType(element, LANES)
        at = self.address(weights, I64(v * LANES * element.width // 8))
        return builder.load(builder.bitcast(at, kind.as_pointer()), align=4)

    def _widened(self, word: Any, i: int, bases: list[Any], v: int) -> Any:
        """Weights of row ``i`` of a unit, without their scale."""
        builder = self.builder
        if self.form == "f16":
            return builder.fpext(builder.bitcast(word, ir.VectorType(F16, LANES)), f32x.llvm)
        if self.form == "bf16":
            return widen_bf16(builder, word, i32x.llvm, f32x.llvm)
        bits = BITS[self.form]
        number = builder.lshr(word, _numbers(bits * i)) if i else word
        if bits * (i + 1) < 32:
            number = builder.and_(number, _numbers((1 << bits) - 1))
        number = builder.or_(number, _numbers(MAGIC))
        return builder.fsub(builder.bitcast(number, f32x.llvm), bases[v])


def _numbers(value: int) -> Any:
    return ir.Constant(i32x.llvm, [value] * LANES)


@intrinsic(prefer_literal=True)
def packed_rows(  # type: ignore[no-untyped-def]
    typingctx, kind, form, rows, every, x, x_row, w, scales, zeros, zero, apart, gap, blocks, units,
    c, ahead, ahead_step, ahead_gap,
):  # fmt: skip
    """Multiply ``rows`` rows, ``x_row`` elements apart, by ``blocks`` blocks of a panel; see above.

    The sums are added to (rows, PANEL) at ``c``. A block has ``units`` units, behind which a
    ``gap`` of bytes follows; its own scales, and zeros if there are any, lie ``apart`` bytes from
    those of the one before. With each unit as many bytes as it has are asked for from ``ahead`` on
    (`fetch_ahead`), which then moves by ``ahead_step`` bytes; with each block a head, for which it
    moves by ``ahead_gap``.
    """
    parameters = [each.literal_value for each in (kind, form, rows, every)]

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        _PackedRows(builder, *parameters).emit(*values[4:])
        return context.get_dummy_value()

    words = [types.int64] * 5
    return types.void(kind, form, rows, every, *words, types.float64, *[types.int64] * 8), codegen
