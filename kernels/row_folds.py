"""Folds: rows of a few numbers, which fill vectors, become one vector of a result for each row."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types

from .target import LANES
from .vectors import I32, I64, f32x, i32x, intrinsic

_IN_LANE = 4
"""Numbers of a 128-bit lane, within which shuffles are cheapest."""

Values = tuple[Any, ...]
"""Vectors of a part: of numbers, and of their places where these are wanted."""
Join = Callable[[ir.IRBuilder, Values, Values], Values]


def _extreme(predicate: str) -> Join:
    """Return what joins by maxima or minima; a NaN of either operand stays."""

    def join(builder: ir.IRBuilder, first: Values, second: Values) -> Values:
        (a,), (b,) = first, second
        # This is one instruction, whose result is ``b`` where one of both is NaN.
        known = builder.select(builder.fcmp_ordered(predicate, a, b), a, b)
        return (builder.select(builder.fcmp_unordered("uno", a, a), a, known),)

    return join


def _place(predicate: str) -> Join:
    """Return what joins numbers and their places; of equal ones the lower place is taken."""

    def join(builder: ir.IRBuilder, first: Values, second: Values) -> Values:
        (a, place), (b, other) = first, second
        is_lower = builder.icmp_signed("<", other, place)
        is_lower = builder.and_(builder.fcmp_ordered("==", b, a), is_lower)
        takes = builder.or_(builder.fcmp_ordered(predicate, b, a), is_lower)
        return builder.select(takes, b, a), builder.select(takes, other, place)

    return join


JOINS: dict[str, Join] = {
    "add": lambda builder, a, b: (builder.fadd(*a, *b),),
    "multiply": lambda builder, a, b: (builder.fmul(*a, *b),),
    "max": _extreme(">"),
    "min": _extreme("<"),
}


class _Parts(NamedTuple):
    """Vectors of parts of rows, and which row each lane is a part of."""

    values: Values
    rows: list[int]


def _neighbours(group: int, span: int) -> tuple[list[int], list[int]]:
    """Lanes of two vectors, in every span of both: the even groups of lanes, and the odd ones."""
    starts = [
        vector + start + at
        for start in range(0, LANES, span)
        for vector in (0, LANES)
        for at in range(0, span, 2 * group)
    ]
    even = [start + i for start in starts for i in range(group)]
    return even, [lane + group for lane in even]


def _shuffle(builder: ir.IRBuilder, a: Any, b: Any, lanes: Sequence[int]) -> Any:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, LANES), list(lanes)))


def _folded(builder: ir.IRBuilder, vectors: list[_Parts], join: Join) -> Values:
    """Join neighbouring parts, those within a 128-bit lane before those of several."""

    def side(a: _Parts, b: _Parts, lanes: list[int]) -> Values:
        return tuple(
            _shuffle(builder, x, y, lanes) for x, y in zip(a.values, b.values, strict=True)
        )

    group = 1
    while len(vectors) > 1:
        even, odd = _neighbours(group, _IN_LANE if group < _IN_LANE else LANES)
        vectors = [
            _Parts(
                join(builder, side(a, b, even), side(a, b, odd)),
                [(a.rows + b.rows)[lane] for lane in even],
            )
            for a, b in zip(vectors[::2], vectors[1::2], strict=True)
        ]
        is_lane_full = len({*vectors[0].rows[:_IN_LANE]}) == _IN_LANE
        group = _IN_LANE if is_lane_full else 1
    (last,) = vectors
    return side(last, last, sorted(range(LANES), key=last.rows.__getitem__))


def _loaded(builder: ir.IRBuilder, addresses: Sequence[Any], length: int) -> list[_Parts]:
    """Load vectors of ``LANES`` dense rows: of numbers, and behind them of int32."""
    parts = []
    for i in range(length):
        values = []
        for address, vector in zip(addresses, (f32x, i32x), strict=False):
            at = builder.add(address, I64(i * LANES * 4))
            pointer = builder.inttoptr(at, vector.llvm.as_pointer())
            values.append(builder.load(pointer, align=4))
        rows = [(i * LANES + lane) // length for lane in range(LANES)]
        parts.append(_Parts(tuple(values), rows))
    return parts


@functools.cache
def fold_rows(join: str, length: int) -> Any:
    """``f(address)``: join the numbers of each of ``LANES`` dense rows of float32.

    Parameters
    ----------
    join
        One of `JOINS`.
    length
        Numbers of a row: a power of two, at most ``LANES``.

    Returns
    -------
    callable
        An intrinsic for kernels that returns a vector. In what order numbers of a row are joined
        does not depend on the row.
    """

    @intrinsic
    def fold(typingctx, address):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return _folded(builder, _loaded(builder, args, length), JOINS[join])[0]

        return f32x(types.int64), codegen

    return fold


@functools.cache
def fold_places(predicate: str) -> Any:
    """``f(numbers, places)``: the place of the best number of each of ``LANES`` rows.

    Parameters
    ----------
    predicate
        ``">"`` or ``"<"``: what is better. Of equal numbers that of the lower place is taken.

    Returns
    -------
    callable
        An intrinsic for kernels that returns a vector of int32. Rows have ``LANES`` numbers
        (float32) and as many places (int32), both dense.
    """

    @intrinsic
    def fold(typingctx, numbers, places):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return _folded(builder, _loaded(builder, args, LANES), _place(predicate))[1]

        return i32x(types.int64, types.int64), codegen

    return fold
