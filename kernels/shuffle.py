"""Small transposes in registers: square blocks, and interleaving of two to four rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import types

from .target import LANES
from .vectors import I8, I16, I32, I64, f32x, intrinsic

_ELEMENTS = {1: I8, 2: I16, 4: I32, 8: I64}
_IN_LANE = 16  # bytes of a 128-bit lane, within which shuffles are cheapest


def block_size(itemsize: int) -> int:
    """Rows and columns of the blocks that ``transpose_block`` moves."""
    return _IN_LANE // itemsize if itemsize < 4 else LANES * 4 // itemsize


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    mask = ir.Constant(ir.VectorType(I32, len(lanes)), list(lanes))
    return builder.shuffle_vector(a, b, mask)


def _interleave(count: int, group: int, span: int, half: int) -> list[int]:
    """Shuffle that alternates groups of two vectors, taking one half of every span of lanes."""
    lanes: list[int] = []
    for start in range(0, count, span):
        for at in range(0, span // 2, group):
            first = start + half * (span // 2) + at
            lanes += [*range(first, first + group), *range(count + first, count + first + group)]
    return lanes


def _network(builder: ir.IRBuilder, rows: list[Any], group: int, span: int) -> list[Any]:
    """Transpose the matrix whose entries are groups of lanes: log2(rows) perfect shuffles."""
    count = rows[0].type.count
    for _ in range(len(rows).bit_length() - 1):
        half = len(rows) // 2
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [
            _shuffle(builder, a, b, _interleave(count, group, span, side))
            for a, b in pairs
            for side in (0, 1)
        ]
    return rows


def _transposed(builder: ir.IRBuilder, rows: list[Any], per_lane: int) -> list[Any]:
    """Transpose square blocks within 128-bit lanes, then the lanes."""
    count = len(rows)
    columns: list[list[Any]] = [
        _network(builder, rows[at : at + per_lane], 1, per_lane) for at in range(0, count, per_lane)
    ]
    result: list[Any] = [None] * count
    for c in range(per_lane):
        blocks = [group[c] for group in columns]
        for lane, row in enumerate(_network(builder, blocks, per_lane, count)):
            result[lane * per_lane + c] = row
    return result


class _Rows:
    """Vectors in memory at a base address and a stride in bytes."""

    def __init__(self, builder: ir.IRBuilder, base: Any, stride: Any, vector: Any) -> None:
        self.builder, self.base, self.stride, self.vector = builder, base, stride, vector

    def pointer(self, row: int) -> Any:
        at = self.builder.add(self.base, self.builder.mul(self.stride, I64(row)))
        return self.builder.inttoptr(at, self.vector.as_pointer())

    def load(self, row: int) -> Any:
        return self.builder.load(self.pointer(row), align=1)

    def store(self, row: int, value: Any) -> None:
        self.builder.store(value, self.pointer(row), align=1)


def _memory_intrinsic(
    itemsize: int,
    count: int,
    inputs: int,
    outputs: int,
    move: Callable[[ir.IRBuilder, list[Any]], list[Any]],
) -> Any:
    """``f(source, stride, target, stride)``: load rows, move lanes, store rows; bytes."""
    vector = ir.VectorType(_ELEMENTS[itemsize], count)

    @intrinsic
    def operation(typingctx, source, source_stride, target, target_stride):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            rows = _Rows(builder, args[0], args[1], vector)
            to = _Rows(builder, args[2], args[3], vector)
            values = move(builder, [rows.load(i) for i in range(inputs)])
            for i in range(outputs):
                to.store(i, values[i])
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return operation


@functools.cache
def transpose_block(itemsize: int) -> Any:
    """``f(source, source_stride, target, target_stride)``: transpose one square block.

    Parameters
    ----------
    itemsize
        1, 2, 4 or 8 bytes; the block has ``block_size(itemsize)`` rows and columns, which lie
        densely; strides are in bytes.

    Returns
    -------
    callable
        An intrinsic for kernels.
    """
    size = block_size(itemsize)
    per_lane = _IN_LANE // itemsize
    return _memory_intrinsic(
        itemsize, size, size, size, lambda builder, rows: _transposed(builder, rows, per_lane)
    )


def _gather(builder: ir.IRBuilder, vectors: list[Any], wanted: list[tuple[int, int]]) -> Any:
    """Vector of the lanes ``(vector, lane)``."""
    count = vectors[0].type.count
    result = _shuffle(builder, vectors[0], vectors[0], [lane for _, lane in wanted])
    for index in range(1, len(vectors)):
        lanes = [count + lane if v == index else i for i, (v, lane) in enumerate(wanted)]
        result = _shuffle(builder, result, vectors[index], lanes)
    return result


@functools.cache
def interleave(itemsize: int, rows: int) -> Any:
    """``f(source, source_stride, target, target_stride)``: rows become dense tuples.

    Parameters
    ----------
    itemsize
        Bytes of an element, at most 4.
    rows
        Number of source rows, each of `LANES` dense elements; a tuple holds one of each. The
        tuples fill as many vectors, ``target_stride`` bytes apart.
    """

    def move(builder: ir.IRBuilder, vectors: list[Any]) -> list[Any]:
        flat = [(i % rows, i // rows) for i in range(rows * LANES)]
        return [_gather(builder, vectors, flat[k * LANES : (k + 1) * LANES]) for k in range(rows)]

    return _memory_intrinsic(itemsize, LANES, rows, rows, move)


@functools.cache
def deinterleave(itemsize: int, rows: int) -> Any:
    """``f(source, source_stride, target, target_stride)``: invert ``interleave``."""

    def move(builder: ir.IRBuilder, vectors: list[Any]) -> list[Any]:
        flat = [[(at // LANES, at % LANES) for at in range(k, rows * LANES, rows)]
                for k in range(rows)]  # fmt: skip
        return [_gather(builder, vectors, wanted) for wanted in flat]

    return _memory_intrinsic(itemsize, LANES, rows, rows, move)


@functools.cache
def every_second(first: int) -> Any:
    """``f(a, b)``: every second lane of two vectors of float32, from the lane ``first`` on."""

    @intrinsic
    def operation(typingctx, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return _shuffle(builder, *args, range(first, 2 * LANES, 2))

        return f32x(f32x, f32x), codegen

    return operation


def _pieces() -> list[list[int]]:
    """Lanes of a vector of float32, of each of the pieces of 128 bits that it is made of."""
    each = _IN_LANE // 4
    return [[at * each + i for i in range(each)] for at in range(LANES // each)]


@functools.cache
def every_second_in_pieces(first: int) -> Any:
    """``f(a, b)``: as `every_second`, of one piece of 128 bits of both after another.

    ``pieces_in_order`` puts them in order, after what is done with each lane alone.
    """
    lanes = [
        vector * LANES + piece[i]
        for piece in _pieces()
        for vector in (0, 1)
        for i in range(first, len(piece), 2)
    ]

    @intrinsic
    def operation(typingctx, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return _shuffle(builder, *args, lanes)

        return f32x(f32x, f32x), codegen

    return operation


@intrinsic
def pieces_in_order(typingctx, a):  # type: ignore[no-untyped-def]
    """Put in order what `every_second_in_pieces` has taken apart."""
    halves = [piece[side : side + 2] for side in (0, 2) for piece in _pieces()]

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return _shuffle(builder, *args, *args, [lane for half in halves for lane in half])

    return f32x(f32x), codegen
