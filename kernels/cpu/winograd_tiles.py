"""The two transforms of Winograd's convolution, a vector of channels at a time in registers.

A tile is mh x mw output pixels, which take th x tw input pixels (t = m + r - 1) and as many
products: *points*. Both kernels run over tiles that lie side by side in one row of tiles. With
strides the pixels of every polyphase component (``cook_toom``) have points, one component after the
other, and the points transformed back are those of the first, which holds the sums.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types

from ..arithmetic import ARITHMETIC
from ..emitter import BYTE, Emitter, unpacked
from ..registry import emitted, kernel_factory
from ..target import LANES
from ..vectors import I64, intrinsic
from .cook_toom import Matrix, components, longest, matrices
from .linear_maps import Floats, Numbers, linear_map
from .winograd_records import InputRecord, OutputRecord


class Transform(Emitter):
    """Base of the transforms: loops over tiles and vectors of channels, grids of pixels.

    Attributes
    ----------
    element, arithmetic
        Kind of what memory has, and arithmetic of what registers have.
    vector_bytes : tuple of int
        Bytes of a vector of channels at each of the pointers, if not those of float32.
    channels : int
        Those of a vector.
    """

    element = "f32"
    arithmetic: type[Numbers] = Floats
    channels = LANES
    vector_bytes: tuple[int, ...] = ()

    def __init__(self, builder: ir.IRBuilder, args: Any, pool: int) -> None:
        super().__init__(builder, ARITHMETIC[self.element])
        self.args, self.pool, self.numbers = args, pool, self.arithmetic(builder)

    def pointer(self, address: Any) -> Any:
        """Pointer to an address."""
        return self.builder.inttoptr(address, BYTE)

    def grid(self, base: Any, height: int, width: int, row: Any, pixel: Any) -> list[list[Any]]:
        """Pointers to height x width pixels."""
        rows = [self.address(base, self.builder.mul(row, I64(i))) for i in range(height)]
        steps = [self.builder.mul(pixel, I64(j)) for j in range(width)]
        return [[self.address(at, step) for step in steps] for at in rows]

    def over(
        self,
        count: Any,
        channels: Any,
        pointers: list[Any],
        steps: list[Any],
        body: Callable[[list[Any], Any | None, Any], None],
    ) -> None:
        """Emit loops over tiles and channels: ``body(pointers, valid lanes, number of vector)``."""
        builder = self.builder
        full = builder.sdiv(channels, I64(self.channels))
        remaining = builder.srem(channels, I64(self.channels))
        sizes = self.vector_bytes or (LANES * 4,) * len(pointers)

        def moved(pointers: list[Any], index: Any) -> list[Any]:
            steps = {size: builder.mul(index, I64(size)) for size in sizes}
            return [self.address(p, steps[size]) for p, size in zip(pointers, sizes, strict=True)]

        def tile(_: Any, carried: list[Any]) -> list[Any]:
            def vector(index: Any, _: list[Any]) -> list[Any]:
                body(moved(carried, index), None, index)
                return []

            def partial() -> list[Any]:
                body(moved(carried, full), remaining, full)
                return []

            self.counted_loop("vector", full, [], vector)
            self.choose(builder.icmp_signed(">", remaining, I64(0)), partial, list)
            return [self.address(p, step) for p, step in zip(carried, steps, strict=True)]

        self.counted_loop("tile", count, pointers, tile)


class Input(Transform):
    """V = B d B^T of each polyphase component of each tile and channel."""

    def sides(
        self, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
    ) -> list[list[Matrix]]:
        """B of each polyphase component, along both axes."""
        sides = zip(tile, kernel, strides, strict=True)
        return [[component.b for component in components(*side)] for side in sides]

    def emit(
        self, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
    ) -> None:
        """Emit all of it."""
        down, across = self.sides(tile, kernel, strides)
        args = self.args
        row, pixel, point = self.words(args.row), self.words(args.pixel), self.words(args.point)
        row_step, pixel_step = (
            self.builder.mul(size, I64(stride))
            for size, stride in zip((row, pixel), strides, strict=True)
        )

        steps = [self.builder.mul(pixel_step, I64(tile[1])), self.words(args.tile)]
        x, v = self.pointer(args.x), self.pointer(args.v)
        # A component at a time: the pages of all points of a tile would be too many.
        for (i, b_h), (j, b_w) in itertools.product(enumerate(down), enumerate(across)):
            start = self.address(x, self.builder.mul(row, I64(i)))
            start = self.address(start, self.builder.mul(pixel, I64(j)))

            def body(
                pointers: list[Any], count: Any | None, _: Any, b_h: Matrix = b_h, b_w: Matrix = b_w
            ) -> None:
                pixels = self.grid(pointers[0], len(b_h), len(b_w), row_step, pixel_step)
                for k, value in enumerate(self.points(pixels, b_h, b_w, count)):
                    at = self.address(pointers[1], self.builder.mul(point, I64(k)))
                    self.store_point(value, at, count)

            self.over(args.tiles, args.channels, [start, v], steps, body)
            v = self.address(v, self.builder.mul(point, I64(len(b_h) * len(b_w))))

    def points(
        self, pixels: list[list[Any]], b_h: Matrix, b_w: Matrix, count: Any | None
    ) -> Iterator[Any]:
        """Transform the pixels at a grid of pointers: their points, rows first."""
        columns = [
            linear_map(self.numbers, b_h, [self.load_pixel(at, count) for at in column])
            for column in zip(*pixels, strict=True)
        ]
        for line in zip(*columns, strict=True):
            yield from linear_map(self.numbers, b_w, list(line))

    def load_pixel(self, pointer: Any, count: Any | None) -> Any:
        """Load a vector of channels."""
        return self.vector_load(pointer, count)

    def store_point(self, value: Any, pointer: Any, count: Any | None) -> None:
        """Store one of a point."""
        self.vector_store(value, pointer, count)


class Row(NamedTuple):
    """Row of a tile in registers: its values, where they go, and what is added.

    ``channel`` are the bytes of float32 before the vector's first, ``lanes`` those that are valid.
    """

    values: list[Any]
    targets: list[Any]
    residuals: list[Any]
    channel: Any
    lanes: Any | None


class Output(Transform):
    """y = activation(pool(A P A^T) + bias + residual) of each tile and channel.

    ``pool`` takes the maximum of every pool x pool values. Bias and activation follow, which
    changes nothing as long as the activation never falls.
    """

    def sides(
        self, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
    ) -> list[Matrix]:
        """A along both axes."""
        sides = zip(tile, kernel, strides, strict=True)
        return [matrices(m, longest(r, stride))[0] for m, r, stride in sides]

    def emit(
        self, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int]
    ) -> None:
        """Emit all of it."""
        args, builder = self.args, self.builder
        a_h, a_w = self.sides(tile, kernel, strides)
        whole = [
            builder.icmp_signed(">=", valid, I64(m // self.pool))
            for valid, m in zip((args.valid_h, args.valid_w), tile, strict=True)
        ]
        self.choose(
            builder.and_(*whole),
            lambda: self.tiles(a_h, a_w, guarded=False),
            lambda: self.tiles(a_h, a_w, guarded=True),
        )

    def tiles(self, a_h: Matrix, a_w: Matrix, guarded: bool) -> list[Any]:
        """Emit the loops; ``guarded`` ones look which pixels there are."""
        th, tw = len(a_h[0]), len(a_w[0])
        height, width = len(a_h) // self.pool, len(a_w) // self.pool
        args, point = self.args, self.words(self.args.point)
        row, pixel, r_row, r_pixel = (
            self.result_bytes(size) for size in (args.row, args.pixel, args.r_row, args.r_pixel)
        )

        def body(pointers: list[Any], count: Any | None, vector: Any) -> None:
            p, y, residual = pointers
            channel = self.builder.mul(vector, I64(LANES * 4))
            columns = []
            for j in range(tw):
                at = [self.builder.mul(point, I64(i * tw + j)) for i in range(th)]
                loads = [self.vector_load(self.address(p, a), count) for a in at]
                columns.append(linear_map(self.numbers, a_h, loads))
            bias = self.bias(channel, count)
            targets = self.grid(y, height, width, row, pixel)
            residuals = self.grid(residual, height, width, r_row, r_pixel)
            for i in range(height):
                lines = [
                    self.finished(
                        i,
                        linear_map(
                            self.numbers,
                            a_w,
                            [column[i * self.pool + part] for column in columns],
                        ),
                    )
                    for part in range(self.pool)
                ]
                line = self.pooled(lines)
                line = [self.numbers.plus(value, bias) for value in line]
                row_of = Row(line, targets[i], residuals[i], channel, count)
                self.pixels(i, row_of, guarded)

        steps = [
            self.words(args.tile),
            self.builder.mul(pixel, I64(width)),
            self.builder.mul(r_pixel, I64(width)),
        ]
        results = [self.result_pointer(address) for address in (args.y, args.residual)]
        pointers = [self.pointer(args.p), *results]
        self.over(args.tiles, args.channels, pointers, steps, body)
        return []

    def pooled(self, lines: list[list[Any]]) -> list[Any]:
        """Take the largest of every ``pool`` values across and all down."""
        starts = range(0, len(lines[0]), self.pool)
        windows = [[v for line in lines for v in line[at : at + self.pool]] for at in starts]
        return [functools.reduce(self.larger, window) for window in windows]

    def larger(self, a: Any, b: Any) -> Any:
        """The larger of two vectors' numbers; NaN if one is."""
        return self.builder.select(self.builder.fcmp_unordered(">", a, b), a, b)

    def bias(self, channel: Any, count: Any | None) -> Any:
        """Bias of a vector of channels, or zeros."""
        has_bias = self.builder.icmp_signed("!=", self.args.bias, I64(0))
        at = self.address(self.pointer(self.args.bias), channel)
        return self.choose(
            has_bias,
            lambda: [self.vector_load(at, count)],
            lambda: [ir.Constant(self.kind.vector, None)],
        )[0]

    def finished(self, i: int, values: list[Any]) -> list[Any]:
        """Return what the transform has made of row i of a tile."""
        return values

    def pixels(self, i: int, row: Row, guarded: bool) -> None:
        """Finish and store row i of a tile."""
        builder, columns = self.builder, range(len(row.values))
        if not guarded:
            self.store(row, columns)
            return
        for j in columns:
            inside = builder.and_(
                builder.icmp_signed("<", I64(i), self.args.valid_h),
                builder.icmp_signed("<", I64(j), self.args.valid_w),
            )
            self.choose(inside, lambda j=j: self.store(row, range(j, j + 1)), list)  # type: ignore[misc]

    def store(self, row: Row, columns: range) -> list[Any]:
        """Store some pixels of a row, with a residual, and activated."""
        args, builder = self.args, self.builder
        has_residual = builder.icmp_signed("!=", args.residual, I64(0))

        def added() -> list[Any]:
            loads = [self.load_result(row.residuals[j], row.lanes) for j in columns]
            return [builder.fadd(row.values[j], r) for j, r in zip(columns, loads, strict=True)]

        line = self.choose(has_residual, added, lambda: [row.values[j] for j in columns])
        line = self.activate(line, args.activation, args.low, args.high)
        for j, value in zip(columns, line, strict=True):
            self.store_result(value, row.targets[j], row.lanes)
        return []

    def result_bytes(self, size: Any) -> Any:
        """Elements of results to bytes."""
        return self.words(size)

    def result_pointer(self, address: Any) -> Any:
        """Pointer to a result, of the address that the record has."""
        return self.pointer(address)

    def load_result(self, pointer: Any, count: Any | None) -> Any:
        """Load a vector of a residual."""
        return self.vector_load(pointer, count)

    def store_result(self, value: Any, pointer: Any, count: Any | None) -> None:
        """Store a vector of results."""
        self.vector_store(value, pointer, count)


def transform(emitter: type[Transform], record: Any) -> Any:
    """Return the intrinsic of a transform: sizes as literals, its record."""

    @intrinsic(prefer_literal=True)
    def call(typingctx, mh, mw, rh, rw, sh, sw, pool, args):  # type: ignore[no-untyped-def]
        sizes = mh, mw, rh, rw, sh, sw, pool
        numbers = [size.literal_value for size in sizes]
        tile, kernel, strides = (tuple(numbers[i : i + 2]) for i in (0, 2, 4))

        def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
            words = unpacked(builder, record, values[7])
            emitter(builder, words, numbers[6]).emit(tile, kernel, strides)
            return context.get_dummy_value()

        return types.void(*sizes, args), codegen

    return call


_input, _output = transform(Input, InputRecord), transform(Output, OutputRecord)


@kernel_factory
@emitted
def winograd_input(mh: int, mw: int, rh: int, rw: int, sh: int, sw: int) -> Callable[..., int]:
    """Build the input transform of tiles mh x mw, windows rh x rw and strides sh x sw."""

    def body(thread: int, part: int, until: int, parts: int, record: InputRecord) -> int:
        _input(mh, mw, rh, rw, sh, sw, 1, record)
        return 0

    return body


@kernel_factory
@emitted
def winograd_output(
    mh: int, mw: int, rh: int, rw: int, sh: int, sw: int, pool: int
) -> Callable[..., int]:
    """Build the output transform of tiles mh x mw, windows rh x rw and strides sh x sw.

    A pixel is the largest of pool x pool; the activation must not fall then, and there is no
    residual.
    """

    def body(thread: int, part: int, until: int, parts: int, record: OutputRecord) -> int:
        _output(mh, mw, rh, rw, sh, sw, pool, record)
        return 0

    return body
