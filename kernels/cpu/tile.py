"""The tile: the one inner loop under every convolution and matrix product.

A tile holds ``mr`` rows (output pixels) by ``nv`` vectors (output channels) of accumulators in
registers and computes, for ``rows`` rows of ``tiles`` tiles one after the other,

    c[m, n] (+)= sum over s0 < S0, s1 < S1, k < L of
                 a[m * lda + s0 * sa0 + s1 * sa1 + k] * b[((s0 * S1 + s1) * L + k) * NR + n]

with ``NR`` the elements of nv vectors. In channels-last order a convolution's reduction over
(kw, c) is contiguous for a fixed kernel row, so it is a tile with S0 = kernel rows, S1 = 1 and
L = kw * c (S1 = kw, L = c when dilated); a matrix product is S0 = S1 = 1. ``a`` is read in
place by broadcasts; ``b`` comes packed in panels. Bias, residual and the common activations are
applied in registers before the only store, and whole sums become bytes there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types

from .. import simd
from ..arithmetic import ARITHMETIC, KINDS
from ..emitter import BYTE, unpacked
from ..fields import positions
from ..registry import Pointer, emitted_if, kernel_factory
from ..target import EMBEDDED_BROADCAST, HAS_MASKS, LANES
from ..vectors import I64, intrinsic
from .sum_stores import ENDINGS, FIRST, LAST, SCALED, SumStores, half_of


class TileRecord(NamedTuple):
    """Argument record of a tile; all strides in elements. Only AMX's tile reads ``height``.

    ``scales``, ``shifts``, ``other`` and ``addition`` are those of `fields.Scaled`.
    """

    a: Pointer
    b: Pointer
    c: Pointer
    bias: Pointer
    residual: Pointer
    lda: int
    ldc: int
    ldr: int
    s0: int
    sa0: int
    s1: int
    sa1: int
    length: int
    n: int
    tiles: int
    rows: int
    row_a: int
    row_c: int
    row_r: int
    ahead: Pointer
    ahead_step: int
    row_ahead: int
    flags: int
    activation: int
    low: float
    high: float
    scales: Pointer
    shifts: Pointer
    zero: int
    target: Pointer
    other: Pointer
    addition: Pointer
    height: int


TILE = positions(TileRecord)
"""Positions of a tile's words."""
TILE_WORDS = len(TILE)
OPERANDS = ("register", "memory")
"""Where multiply-adds take the numbers of ``a`` from: spread into a register, or from memory."""
FEW_ROWS = 2
"""Rows of tiles that spread numbers into registers in any case."""
_ROWS_PER_POINTER = 3
_LINE = 64  # bytes


class Tile(SumStores):
    """Emits the code of a tile; one method a part."""

    def __init__(
        self, builder: ir.IRBuilder, mr: int, nv: int, kind: str, operand: str, ending: str,
        args: Any,
    ) -> None:  # fmt: skip
        super().__init__(builder, ARITHMETIC[kind], mr, nv, ending, args)
        self.is_plain, self.has_bytes = kind not in ("f32", "bf16"), kind in ("i16", "u8")
        self.is_half = ending == "halves"
        # Every such operand is a load, of which few rows would then have too many.
        self.embedded = EMBEDDED_BROADCAST and operand == "memory" and mr > FEW_ROWS
        self.fetches = -(-nv * LANES * 4 // _LINE) if HAS_MASKS or mr == 1 else 1

    def start(self, c: Any) -> list[Any]:
        """Accumulators: bias (or zero) at the first block of the reduction, else c."""
        builder, args = self.builder, self.args

        def fresh() -> list[Any]:
            has_bias = builder.icmp_signed("!=", args.bias, I64(0))
            base = builder.inttoptr(args.bias, BYTE)

            def load() -> list[Any]:
                return [
                    self.vector_load(self.address(base, I64(j * LANES * 4)), count)
                    for j, count in enumerate(self.counts())
                ]

            zero = ir.Constant(self.kind.vector, None)
            bias = self.choose(has_bias, load, lambda: [zero] * self.nv)
            return bias * self.mr

        def resume() -> list[Any]:
            return self.rows(c, args.ldc)

        return self.choose(self.flag(FIRST), fresh, resume)

    def rows(self, base: Any, ld: Any) -> list[Any]:
        """Load an mr x nv block of rows ``ld`` bytes apart."""
        values = []
        for m in range(self.mr):
            row = self.address(base, self.builder.mul(ld, I64(m)))
            for j, count in enumerate(self.counts()):
                values.append(self.vector_load(self.address(row, I64(j * LANES * 4)), count))
        return values

    def reduce(self, a: Any, ahead: Any, accumulators: list[Any]) -> list[Any]:
        """Run the reduction: segments, and in each L multiply-adds per accumulator.

        Every step of it prefetches what comes later (`panel`): as many lines as it uses itself,
        spread over its share, which is so much where a panel meets a single tile. AVX2's tiles,
        which loads bound, ask for one, as many as those of two vectors use, unless they have a
        single row. Returns the address of the next line to prefetch, and the sums.
        """
        builder, args = self.builder, self.args
        b = builder.inttoptr(args.b, BYTE)
        lda, step = args.lda, args.ahead_step
        parts = [self._share(step, part) for part in range(self.fetches)]
        groups = range(0, self.mr, _ROWS_PER_POINTER)
        double = builder.shl(lda, I64(1))
        row_offsets = [I64(0), lda, double]

        def outer(_: Any, carried: list[Any]) -> list[Any]:
            _, *panel_and_sums = self.counted_loop("s1", args.s1, carried, segment)
            return [self.address(carried[0], args.sa0), *panel_and_sums]

        def segment(_: Any, carried: list[Any]) -> list[Any]:
            base, *streams = carried[:3]
            sums = carried[3:]
            starts = [self.address(base, builder.mul(lda, I64(m))) for m in groups]
            inner = self.counted_loop("k", args.length, [*streams, *starts, *sums], multiply)
            return [self.address(base, args.sa1), *inner[:2], *inner[2 + len(starts) :]]

        def multiply(_: Any, carried: list[Any]) -> list[Any]:
            panel, ahead, *pointers = carried[: 2 + len(groups)]
            sums = list(carried[2 + len(groups) :])
            for part in range(self.fetches):
                simd.prefetch_line(builder, self.address(ahead, parts[part]))
            weights = [
                self.vector_load(self.address(panel, I64(j * LANES * 4))) for j in range(self.nv)
            ]
            for m in range(self.mr):
                pointer = self.address(
                    pointers[m // _ROWS_PER_POINTER], row_offsets[m % _ROWS_PER_POINTER]
                )
                row = slice(m * self.nv, (m + 1) * self.nv)
                sums[row] = self.add_products(pointer, weights, sums[row], self.embedded)
            moved = [self.address(pointer, I64(self.kind.itemsize)) for pointer in pointers]
            streams = self.address(panel, I64(self.nv * LANES * 4)), self.address(ahead, step)
            return [*streams, *moved, *sums]

        return self.counted_loop("s0", args.s0, [a, b, ahead, *accumulators], outer)[2:]

    def _share(self, step: Any, part: int) -> Any:
        """Return where a line begins of those that a step prefetches."""
        if self.fetches == 1:
            return I64(0)
        return self.builder.udiv(self.builder.mul(step, I64(part)), I64(self.fetches))

    def finish(self, residual: Any, values: list[Any]) -> list[Any]:
        """Residual and activation of float32."""
        builder, args = self.builder, self.args
        has_residual = builder.icmp_signed("!=", args.residual, I64(0))

        def added() -> list[Any]:
            rows = (self.half_rows if self.is_half else self.rows)(residual, args.ldr)
            return [builder.fadd(v, r) for v, r in zip(values, rows, strict=True)]

        values = self.choose(has_residual, added, lambda: values)
        return self.activate(values, args.activation, args.low, args.high)

    def last(self, residual: Any, sums: list[Any]) -> list[Any]:
        """Finish sums if they are those of the last block of the reduction."""
        done: list[Any] = self.choose(
            self.flag(LAST), lambda: self.finish(residual, sums), lambda: sums
        )
        return done

    def prefetch(self, c: Any, residual: Any) -> None:
        """Bring in what the end of the tile will need."""
        builder, args = self.builder, self.args

        def rows(base: Any, ld: Any, size: int, write: bool = False) -> list[Any]:
            for m in range(self.mr):
                row = self.address(base, builder.mul(ld, I64(m)))
                for at in range(0, size, 64):
                    simd.prefetch_line(builder, self.address(row, I64(at)), write)
            return []

        def sums() -> list[Any]:
            return rows(c, args.ldc, self.nv * LANES * 4, write=True)

        if self.has_bytes and not EMBEDDED_BROADCAST:  # what is made of sums lies elsewhere
            self.choose(self.flag(SCALED), list, sums)
        elif not EMBEDDED_BROADCAST and not self.is_half:  # where it only costs
            sums()
        if not self.is_plain:
            has_residual = builder.icmp_signed("!=", args.residual, I64(0))
            ldr, size = args.ldr, self.nv * LANES * 4
            if self.is_half:
                residual, ldr = half_of(builder, residual), builder.lshr(ldr, I64(1))
                size //= 2
            self.choose(has_residual, lambda: rows(residual, ldr, size), list)

    def emit(self) -> None:
        """Emit all of it."""
        strides = ("lda", "ldc", "ldr", "sa0", "sa1", "row_a", "row_c", "row_r")
        self.args = self.args._replace(
            **{name: self.words(getattr(self.args, name)) for name in strides}
        )
        builder, args = self.builder, self.args
        pointers = [
            builder.inttoptr(address, BYTE)
            for address in (args.a, args.c, args.residual, args.ahead)
        ]
        steps = [builder.mul(stride, I64(self.mr)) for stride in (args.lda, args.ldc, args.ldr)]

        def one(_: Any, carried: list[Any]) -> list[Any]:
            a, c, residual, ahead = carried
            self.prefetch(c, residual)
            ahead, *sums = self.reduce(a, ahead, self.start(c))
            sums = sums if self.is_plain else self.last(residual, sums)
            store = self.store_halves if self.is_half else self.store
            (self.store_either if self.has_bytes else store)(c, sums)
            moved = [self.address(p, s) for p, s in zip((a, c, residual), steps, strict=True)]
            return [*moved, ahead]

        def row(_: Any, carried: list[Any]) -> list[Any]:
            self.counted_loop("tile", args.tiles, carried, one)
            strides = (args.row_a, args.row_c, args.row_r, args.row_ahead)
            return [self.address(p, s) for p, s in zip(carried, strides, strict=True)]

        self.counted_loop("row", args.rows, pointers, row)


@intrinsic(prefer_literal=True)
def _tile(typingctx, mr, nv, kind, operand, ending, record):  # type: ignore[no-untyped-def]
    sizes = mr.literal_value, nv.literal_value
    forms = KINDS[kind.literal_value], OPERANDS[operand.literal_value]
    last = ENDINGS[ending.literal_value]

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        Tile(builder, *sizes, *forms, last, unpacked(builder, TileRecord, values[5])).emit()
        return context.get_dummy_value()

    return types.void(mr, nv, kind, operand, ending, record), codegen


def _has_few_steps(
    mr: int, nv: int, kind: str = "f32", operand: str = OPERANDS[0], ending: str = ENDINGS[0]
) -> bool:
    """Tell whether a tile has little code behind its sums: not where bytes are added to them."""
    return ending != "added"


@kernel_factory
@emitted_if(_has_few_steps)
def tile(
    mr: int, nv: int, kind: str = "f32", operand: str = OPERANDS[0], ending: str = ENDINGS[0]
) -> Callable[..., int]:
    """Build the tile of ``mr`` rows and ``nv`` vectors of a kind of numbers (``arithmetic``).

    Only those whose sums are float32 add a residual and apply activations. ``operand`` is one of
    `OPERANDS`, ``ending`` one of `ENDINGS`: for those of whole sums, but for the last one, which is
    for the others. A reduction is whole then, since there is no room for sums of a part.
    """
    number, source, last = KINDS.index(kind), OPERANDS.index(operand), ENDINGS.index(ending)

    def body(thread: int, part: int, until: int, parts: int, record: TileRecord) -> int:
        _tile(mr, nv, number, source, last, record)
        return 0

    return body
