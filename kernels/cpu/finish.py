"""What follows sums that a tile left in the first-level cache: bias, residual, activation.

Results and residual are float32, or bfloat16, to which results are rounded when they are stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types

from ..bfloat_terms import emit_pair
from ..emitter import BYTE, VECTOR, Emitter, constant, unpacked
from ..halves import widen_bf16
from ..registry import Pointer
from ..simd import call_by_name, emit_first, load_first_lanes, mangled
from ..target import LANES
from ..vector_memory import ITEM_BYTES
from ..vectors import I16, I32, I64, i32x, intrinsic

COLUMNS = 32
_VECTORS = COLUMNS // LANES
_HALVES = ir.VectorType(I16, LANES)


class Finish(NamedTuple):
    """Rows of `COLUMNS` sums, of which ``n`` are wanted, and where the results go.

    ``sums`` are dense; ``ldc`` and ``ldr`` are bytes between rows of results and residual. There is
    no bias or residual where their address is 0.
    """

    sums: Pointer
    c: Pointer
    residual: Pointer
    bias: Pointer
    rows: int
    ldc: int
    ldr: int
    n: int
    activation: int
    low: float
    high: float


class _Finisher(Emitter):
    """Emits the code that finishes rows; ``result`` and ``other`` are kinds of `ITEM_BYTES`."""

    def __init__(self, builder: ir.IRBuilder, result: str, other: str) -> None:
        super().__init__(builder)
        self.result, self.other = result, other

    def emit(self, own: Any) -> None:
        def rows(counts: list[Any | None]) -> list[Any]:
            self.rows(own, counts)
            return []

        some = [self.builder.sub(own.n, I64(j * LANES)) for j in range(_VECTORS)]
        is_full = self.builder.icmp_signed(">=", own.n, I64(COLUMNS))
        self.choose(is_full, lambda: rows([None] * _VECTORS), lambda: rows(some))

    def vectors(self, base: Any, counts: list[Any | None], kind: str = "f32") -> list[Any]:
        """Load a row of numbers of a kind."""
        load = self.vector_load if kind == "f32" else self.half_load
        step = LANES * ITEM_BYTES[kind]
        return [load(self.address(base, I64(j * step)), count) for j, count in enumerate(counts)]

    def half_load(self, pointer: Any, count: Any | None) -> Any:
        """Load a vector of bfloat16 as float32, or its first lanes."""
        typed = self.builder.bitcast(pointer, _HALVES.as_pointer())
        if count is None:
            bits = self.builder.load(typed, align=2)
        else:
            bits = load_first_lanes(self.builder, _HALVES, typed, count, 2)
        return widen_bf16(self.builder, bits, i32x.llvm, VECTOR)

    def store(self, values: list[Any], base: Any, counts: list[Any | None]) -> None:
        """Store a row of results."""
        if self.result == "f32":
            for j, (value, count) in enumerate(zip(values, counts, strict=True)):
                self.vector_store(value, self.address(base, I64(j * LANES * 4)), count)
            return
        for j in range(0, _VECTORS, 2):
            pair = emit_pair(self.builder, values[j], values[j + 1])
            pointer = self.address(base, I64(j * LANES * 2))
            typed = self.builder.bitcast(pointer, pair.type.as_pointer())
            if counts[j] is None:
                self.builder.store(pair, typed, align=2)
            else:
                self._store_first(pair, typed, counts[j])

    def _store_first(self, pair: Any, pointer: Any, count: Any) -> None:
        """Store the first lanes of two vectors of bfloat16."""
        mask = emit_first(self.builder, count, 2 * LANES)
        name = f"llvm.masked.store.{mangled(pair.type)}.p0"
        call_by_name(self.builder, name, ir.VoidType(), [pair, pointer, I32(2), mask])

    def rows(self, own: Any, counts: list[Any | None]) -> None:
        """Emit the loop over rows, whose vectors have so many lanes."""
        builder = self.builder
        sums, c, residual, bias = (builder.inttoptr(address, BYTE) for address in own[:4])
        zeros = [constant(0.0)] * _VECTORS
        has_bias, has_residual = (
            builder.icmp_signed("!=", address, I64(0)) for address in (own.bias, own.residual)
        )
        biases = self.choose(has_bias, lambda: self.vectors(bias, counts), lambda: zeros)

        def row(_: Any, carried: list[Any]) -> list[Any]:
            sums, c, residual = carried
            values = self.vectors(sums, [None] * _VECTORS)
            values = [builder.fadd(v, b) for v, b in zip(values, biases, strict=True)]

            def added() -> list[Any]:
                others = self.vectors(residual, counts, self.other)
                return [builder.fadd(v, o) for v, o in zip(values, others, strict=True)]

            total = self.choose(has_residual, added, lambda: values)
            total = self.activate(total, own.activation, own.low, own.high)
            self.store(total, c, counts)
            steps = (I64(COLUMNS * 4), own.ldc, own.ldr)
            return [self.address(p, step) for p, step in zip(carried, steps, strict=True)]

        self.counted_loop("row", own.rows, [sums, c, residual], row)


def make_finish(result: str = "f32", residual: str = "f32") -> Callable[[Finish], None]:
    """Return what finishes the rows of a `Finish`, with results and a residual of these kinds."""

    @intrinsic
    def finish_rows(typingctx, record):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
            own = unpacked(builder, Finish, values[0])
            _Finisher(builder, result, residual).emit(own)
            return context.get_dummy_value()

        return types.void(record), codegen

    return finish_rows
