"""What follows sums that a tile left in the first-level cache: bias, residual, activation."""

from __future__ import annotations

from typing import Any, NamedTuple

from numba.core import types

from ..emitter import BYTE, Emitter, constant, unpacked
from ..registry import Pointer
from ..target import LANES
from ..vectors import I64, intrinsic

COLUMNS = 32
_VECTORS = COLUMNS // LANES


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
    """Emits the code of `finish_rows`."""

    def emit(self, own: Any) -> None:
        def rows(counts: list[Any | None]) -> list[Any]:
            self.rows(own, counts)
            return []

        some = [self.builder.sub(own.n, I64(j * LANES)) for j in range(_VECTORS)]
        is_full = self.builder.icmp_signed(">=", own.n, I64(COLUMNS))
        self.choose(is_full, lambda: rows([None] * _VECTORS), lambda: rows(some))

    def vectors(self, base: Any, counts: list[Any | None]) -> list[Any]:
        """Load a row."""
        return [
            self.vector_load(self.address(base, I64(j * LANES * 4)), count)
            for j, count in enumerate(counts)
        ]

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
                others = self.vectors(residual, counts)
                return [builder.fadd(v, o) for v, o in zip(values, others, strict=True)]

            total = self.choose(has_residual, added, lambda: values)
            total = self.activate(total, own.activation, own.low, own.high)
            for j, (value, count) in enumerate(zip(total, counts, strict=True)):
                self.vector_store(value, self.address(c, I64(j * LANES * 4)), count)
            steps = (I64(COLUMNS * 4), own.ldc, own.ldr)
            return [self.address(p, step) for p, step in zip(carried, steps, strict=True)]

        self.counted_loop("row", own.rows, [sums, c, residual], row)


@intrinsic
def finish_rows(typingctx, record):  # type: ignore[no-untyped-def]
    """Finish the rows of a `Finish`."""

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        _Finisher(builder).emit(unpacked(builder, Finish, values[0]))
        return context.get_dummy_value()

    return types.void(record), codegen
