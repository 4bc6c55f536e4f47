"""Winograd's convolution of bytes without any rounding: transforms to int16, and back from int32.

With the points 0, +-1, +-2 and infinity all matrices are of whole numbers but for a divisor of each
output (`cook_toom.whole_matrices`). Points of unsigned bytes fit int16, and so do those of weights
of 9 bits: 68 * 255 and 49 * 255 at most. Their products are summed in int32, which wraps. That does
no harm: additions and multiplications of the transform back are exact modulo 2^32, too, and
division by the divisor is a multiplication by the inverse of its odd part, which is exact there,
and a shift to the right by its power of two. So results are exact as long as they have the bits
that the shift leaves: below 2^25 for tiles of 4 x 4 pixels (`most_sum`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir

from .. import simd
from ..registry import kernel_factory
from ..target import LANES
from ..vectors import I8, I16, I32, I64
from .cook_toom import Matrix, whole_matrices
from .linear_maps import Wholes
from .pairs import paired
from .sum_stores import ENDINGS, StoreFields, SumStores
from .winograd_records import InputRecord, OutputRecord
from .winograd_tiles import Input, Output, Row, transform

TAPS = (3, 3)
"""Longer filters have points that do not fit int16."""
_PLAIN = (1, 1)
_SUM_BITS = 31


def _divisors(tile: Sequence[int]) -> list[list[int]]:
    down, across = (whole_matrices(m, r).divisors for m, r in zip(tile, TAPS, strict=True))
    return [[first * second for second in across] for first in down]


def _power(number: int) -> int:
    """Return how often 2 divides a number."""
    return (number & -number).bit_length() - 1


def most_sum(tile: Sequence[int]) -> int:
    """Return what results have to be below, without their bias."""
    return 1 << (_SUM_BITS - max(map(_power, itertools.chain(*_divisors(tile)))))


def transform_filters(weights: np.ndarray, tile: Sequence[int]) -> np.ndarray:
    """Transform filters (M, C, 3, 3) of whole numbers of 9 bits.

    Returns
    -------
    ndarray of int32
        Pairs of int16, (points, C / 2, M), rows of points first.
    """
    sides = [whole_matrices(m, r).g for m, r in zip(tile, TAPS, strict=True)]
    both = np.kron(
        *[np.array([[int(x) for x in row] for row in side], np.float32) for side in sides]
    )
    # Whole numbers below 2^24, of which float32 is exact, by one product of matrices.
    taps = weights.transpose(2, 3, 1, 0).astype(np.float32)
    points = both @ taps.reshape(both.shape[1], -1)
    return paired(points.reshape(-1, *taps.shape[2:]), 1)


class _ByteInput(Input):
    """V = B d B^T of unsigned bytes, of twice as many channels at a time as there are words."""

    arithmetic = Wholes
    channels = LANES // 2
    vector_bytes = (LANES * 2, LANES * 4)

    def sides(
        self, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
    ) -> list[list[Matrix]]:
        return [[whole_matrices(m, r).b] for m, r in zip(tile, kernel, strict=True)]

    def load_pixel(self, pointer: Any, count: Any | None) -> Any:
        words = ir.VectorType(I32, self.channels)
        typed = self.builder.bitcast(pointer, words.as_pointer())
        if count is None:
            value = self.builder.load(typed, align=4)
        else:
            value = simd.load_first_lanes(self.builder, words, typed, count)
        values = self.builder.bitcast(value, ir.VectorType(I8, 2 * LANES))
        return self.builder.zext(values, ir.VectorType(I16, 2 * LANES))

    def store_point(self, value: Any, pointer: Any, count: Any | None) -> None:
        """Store a whole vector, for which there is room."""
        words = self.builder.bitcast(value, ir.VectorType(I32, LANES))
        self.builder.store(words, self.builder.bitcast(pointer, words.type.as_pointer()), align=4)


class _SumOutput(Output):
    """What becomes of A P A^T and a bias: sums, bytes or floats (`sum_stores`)."""

    element, arithmetic = "i32", Wholes
    ending = ENDINGS[0]

    def sides(
        self, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
    ) -> list[Matrix]:
        self.divisors = _divisors(tile)
        return [whole_matrices(m, r).a for m, r in zip(tile, kernel, strict=True)]

    def finished(self, i: int, values: list[Any]) -> list[Any]:
        """Divide row i of a tile exactly."""
        found = []
        for value, divisor in zip(values, self.divisors[i], strict=True):
            shift = _power(divisor)
            inverse = pow(divisor >> shift, -1, 1 << 32)
            factor, bits = (ir.Constant(value.type, [x] * LANES) for x in (inverse, shift))
            found.append(self.builder.ashr(self.builder.mul(value, factor), bits))
        return found

    def store(self, row: Row, columns: range) -> list[Any]:
        """Store some pixels of a row, or what their sums become."""
        args, builder = self.args, self.builder

        def of_channel(address: Any) -> Any:
            moved = builder.add(address, row.channel)
            return builder.select(builder.icmp_signed("!=", address, I64(0)), moved, I64(0))

        own = {name: getattr(args, name) for name in StoreFields._fields if name in args._fields}
        own |= {name: of_channel(own[name]) for name in ("scales", "shifts")}
        lanes = I64(LANES) if row.lanes is None else row.lanes
        fields = StoreFields(ldc=self.words(args.pixel), n=lanes, **own)
        stores = SumStores(builder, self.kind, len(columns), 1, self.ending, fields)
        stores.store_either(row.targets[columns[0]], [row.values[j] for j in columns])
        return []


class _AddedOutput(_SumOutput):
    ending = ENDINGS[1]


class _FloatOutput(_SumOutput):
    ending = ENDINGS[2]


_input = transform(_ByteInput, InputRecord)
_outputs = {
    each.ending: transform(each, OutputRecord) for each in (_SumOutput, _AddedOutput, _FloatOutput)
}


@kernel_factory
def winograd_byte_input(mh: int, mw: int) -> Callable[..., int]:
    """Build the input transform of tiles mh x mw and windows of 3 x 3.

    ``channels`` and strides of ``x`` are words of four unsigned bytes, others words of two int16;
    rows of ``v`` have room for whole vectors.
    """

    def body(thread: int, part: int, until: int, parts: int, record: InputRecord) -> int:
        _input(mh, mw, 3, 3, 1, 1, 1, record)
        return 0

    return body


@kernel_factory
def winograd_sum_output(mh: int, mw: int, ending: str) -> Callable[..., int]:
    """Build the output transform of tiles mh x mw and windows of 3 x 3, to one of `ENDINGS`."""
    output = _outputs[ending]

    def body(thread: int, part: int, until: int, parts: int, record: OutputRecord) -> int:
        output(mh, mw, 3, 3, 1, 1, 1, record)
        return 0

    return body
