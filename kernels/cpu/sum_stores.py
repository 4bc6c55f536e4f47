"""Stores of sums in registers: as they are, or as the bytes or float32 that whole ones become.

A block has some rows of vectors. Bytes lie as the sums do: where one begins is a quarter of the
address of its sum, and ``target``, or ``other`` of those that are added. Where results and residual
are bfloat16 there is no room for sums: addresses are those of bfloat16 times two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir

from .. import simd
from ..arithmetic import Arithmetic
from ..byte_packing import Limits, emit_packed
from ..byte_sums import emit_added, load_addition
from ..byte_vectors import emit_load, emit_scaled, emit_store
from ..emitter import BYTE, VECTOR, Emitter
from ..half_vectors import emit_load_bf16, emit_store_bf16
from ..target import LANES
from ..vectors import F32, I32, I64

FIRST, LAST, SCALED = 1, 2, 4
"""Flags of the first block of a reduction, of the last, and of one whose whole sums are scaled."""
ENDINGS = ("bytes", "added", "floats", "halves")
"""What scaled sums become: bytes, bytes of which others were added before (`byte_sums`), floats.

``"halves"`` is for sums of float32, all of which are stored as bfloat16.
"""


def half_of(builder: ir.IRBuilder, pointer: Any) -> Any:
    """Return where bfloat16 lie whose doubled address is given."""
    return builder.inttoptr(builder.lshr(builder.ptrtoint(pointer, I64), I64(1)), BYTE)


class StoreFields(NamedTuple):
    """What stores depend on.

    ``ldc`` are bytes from row to row, ``n`` the valid lanes of a row; ``scales``, ``shifts``,
    ``other`` and ``addition`` are those of `fields.Scaled`, for the first vector.
    """

    ldc: Any
    n: Any
    flags: Any
    activation: Any
    low: Any
    high: Any
    scales: Any
    shifts: Any
    zero: Any
    target: Any
    other: Any
    addition: Any


class SumStores(Emitter):
    """Emits the stores of ``mr`` rows of ``nv`` vectors; ``args`` has what `StoreFields` has."""

    def __init__(
        self, builder: ir.IRBuilder, kind: Arithmetic, mr: int, nv: int, ending: str, args: Any
    ) -> None:
        super().__init__(builder, kind)
        self.lanes = self.kind.vector.count
        self.mr, self.nv, self.ending, self.args = mr, nv, ending, args

    def flag(self, bit: int) -> Any:
        """Tell whether a flag of the record is set."""
        masked = self.builder.and_(self.args.flags, I64(bit))
        return self.builder.icmp_signed("!=", masked, I64(0))

    def counts(self) -> list[Any | None]:
        """Valid lanes of each vector: all (None), but for the last of the last panel."""
        last = self.builder.sub(self.args.n, I64((self.nv - 1) * self.lanes))
        return [*[None] * (self.nv - 1), last]

    def store(self, c: Any, values: list[Any]) -> None:
        """Store rows, without the columns that the result does not have."""
        builder, args = self.builder, self.args

        def write(counts: list[Any | None]) -> None:
            for m in range(self.mr):
                row = self.address(c, builder.mul(args.ldc, I64(m)))
                for j, count in enumerate(counts):
                    at = self.address(row, I64(j * LANES * 4))
                    self.vector_store(values[m * self.nv + j], at, count)

        self.for_lanes(write)

    def store_halves(self, c: Any, values: list[Any]) -> None:
        """Store rows as bfloat16."""
        builder = self.builder
        base, apart = half_of(builder, c), builder.lshr(self.args.ldc, I64(1))

        def write(counts: list[Any | None]) -> None:
            for m in range(self.mr):
                row = self.address(base, builder.mul(apart, I64(m)))
                for j, count in enumerate(counts):
                    at = self.address(row, I64(j * LANES * 2))
                    emit_store_bf16(builder, values[m * self.nv + j], at, count)

        self.for_lanes(write)

    def half_rows(self, base: Any, ld: Any) -> list[Any]:
        """Load rows of bfloat16, whose distance ``ld`` is that of float32."""
        builder, values = self.builder, []
        base, apart = half_of(builder, base), builder.lshr(ld, I64(1))
        for m in range(self.mr):
            row = self.address(base, builder.mul(apart, I64(m)))
            for j, count in enumerate(self.counts()):
                values.append(emit_load_bf16(builder, self.address(row, I64(j * LANES * 2)), count))
        return values

    def store_bytes(self, c: Any, sums: list[Any]) -> None:
        """Store whole sums as bytes."""
        builder, args = self.builder, self.args
        base, apart = self.bytes_at(c, args.target), builder.lshr(args.ldc, I64(2))
        low, high = (
            simd.emit_splat(builder, builder.fptrunc(end, F32)) for end in (args.low, args.high)
        )
        limits = Limits(low, high, simd.emit_splat(builder, builder.trunc(args.zero, I32)))

        def write(counts: list[Any | None]) -> None:
            values = self.scaled(sums, counts)
            if self.ending == "added":
                values = self.added(self.bytes_at(c, args.other), apart, values, counts)
            for i, value in enumerate(emit_packed(builder, values, limits)):
                m, j = divmod(i, self.nv)
                row = self.address(base, builder.mul(apart, I64(m)))
                emit_store(builder, value, self.address(row, I64(j * LANES)), counts[j])

        self.for_lanes(write)

    def scaled(self, sums: list[Any], counts: list[Any | None]) -> list[Any]:
        """Sums in their scales, float32."""
        factors = self.by_channel(self.args.scales, counts)
        return [
            emit_scaled(self.builder, total, factors[i % self.nv]) for i, total in enumerate(sums)
        ]

    def by_channel(self, address: Any, counts: list[Any | None]) -> list[Any]:
        """Load float32 of the channels."""
        base = self.builder.inttoptr(address, BYTE)
        loads = [
            self.vector_load(self.address(base, I64(j * LANES * 4)), count)
            for j, count in enumerate(counts)
        ]
        return [self.builder.bitcast(each, VECTOR) for each in loads]

    def store_floats(self, c: Any, sums: list[Any]) -> None:
        """Store whole sums as float32, shifted and activated."""
        builder, args = self.builder, self.args
        scaled = self.scaled(sums, self.counts())
        has_shifts = builder.icmp_signed("!=", args.shifts, I64(0))

        def shifted() -> list[Any]:
            shifts = self.by_channel(args.shifts, self.counts())
            return [builder.fadd(value, shifts[i % self.nv]) for i, value in enumerate(scaled)]

        values = self.choose(has_shifts, shifted, lambda: scaled)
        values = self.activate(values, args.activation, args.low, args.high)
        self.store(c, [builder.bitcast(value, self.kind.vector) for value in values])

    def store_scaled(self, c: Any, sums: list[Any]) -> None:
        """Store what whole sums become."""
        (self.store_floats if self.ending == "floats" else self.store_bytes)(c, sums)

    def bytes_at(self, c: Any, base: Any) -> Any:
        """Where the bytes of sums lie."""
        quarter = self.builder.lshr(self.builder.ptrtoint(c, I64), I64(2))
        return self.builder.inttoptr(self.builder.add(quarter, base), BYTE)

    def added(
        self, others: Any, apart: Any, values: list[Any], counts: list[Any | None]
    ) -> list[Any]:
        """Sums of scaled sums and other bytes, ``apart`` bytes by row."""
        builder, totals = self.builder, []
        addition = load_addition(builder, builder.inttoptr(self.args.addition, BYTE))
        for i, value in enumerate(values):
            m, j = divmod(i, self.nv)
            at = self.address(others, builder.add(builder.mul(apart, I64(m)), I64(j * LANES)))
            totals.append(emit_added(builder, value, emit_load(builder, at, counts[j]), addition))
        return totals

    def for_lanes(self, write: Callable[[list[Any | None]], None]) -> None:
        """Emit what is written of all lanes, and of those that the last panel has."""

        def written(counts: list[Any | None]) -> list[Any]:
            write(counts)
            return []

        full = self.builder.icmp_signed(">=", self.args.n, I64(self.nv * self.lanes))
        self.choose(full, lambda: written([None] * self.nv), lambda: written(self.counts()))

    def store_either(self, c: Any, sums: list[Any]) -> None:
        """Store whole sums, or what they become."""

        def stored(store: Callable[[Any, list[Any]], None]) -> list[Any]:
            store(c, sums)
            return []

        self.choose(
            self.flag(SCALED), lambda: stored(self.store_scaled), lambda: stored(self.store)
        )
