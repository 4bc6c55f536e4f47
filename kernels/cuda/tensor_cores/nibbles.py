"""Products with weights of 4 bits: blocks of a column's numbers have a scale and a zero point.

Numbers lie column by column, 8 in a word, the first one lowest; scales and zero points (float32) in
pairs, block by block of a column. Of many rows tiles are multiplied as others are: numbers become
float32 on their way to shared memory. Of few rows each warp has four columns, whose words it reads
once, 16 bytes a lane: what such a product takes is the time to read its weights.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import block_x, block_y, load, quotient, shared_start, store, thread_index
from ..kernel import Body, Bounds, Fields, Launch, Limits, cuda_factory
from ..ptx import DeviceFunction, Instruction, Operand, device
from .epilogue import Epilogue, operand_places, store_four, store_tile
from .float_product import copy_transposed, float_ring
from .ring import ring_product
from .tile_copies import copy_rows
from .tiles import FloatTile, Tile

FEW_ROWS = 4
"""Rows, at most, that read all weights each: from the second cache, but for the first one."""
DEPTH_UNIT = 32
"""What depth and blocks are multiples of: a lane reads so many numbers at a time."""
_COLUMNS = 4
_MAGIC = 0x4B000000
"""Bits of 2^23 as float32: a number of 4 bits in its lowest bits is added to it exactly."""
_POINT = (".reg .f32 %point;", "add.f32 %point, %zero, 0f4B000000;")


@functools.cache
def _widen(count: int) -> Instruction:
    """Return the instruction that makes ``count`` words of numbers float32, less a zero point."""
    words, numbers = Operand("word", "b32", count), Operand("number", "f32", 8 * count)
    lines = [*_POINT, ".reg .b32 %bits;"]
    for i, register in enumerate(numbers.registers):
        lines += [
            f"shr.b32 %bits, {words.registers[i // 8]}, {4 * (i % 8)};",
            "and.b32 %bits, %bits, 15;",
            f"or.b32 %bits, %bits, {_MAGIC};",
            f"sub.f32 {register}, %bits, %point;",
        ]
    inputs = (words, Operand("zero", "f32"))
    return Instruction("widen", tuple(lines), inputs, numbers, has_effects=False, section="9.7.7")


@functools.cache
def _dot() -> Instruction:
    """Return the instruction that multiplies 32 numbers, of four words, by as many float32.

    Its arguments are a sum, to which it adds their product, the words, the factors, and the zero
    point and the scale of the numbers.
    """
    words, x, total = Operand("word", "b32", 4), Operand("x", "f32", 32), Operand("total", "f32")
    lines = [*_POINT, ".reg .b32 %bits;", ".reg .f32 %number, %sum;", "mov.f32 %sum, 0f00000000;"]
    for i, register in enumerate(x.registers):
        lines += [
            f"shr.b32 %bits, {words.registers[i // 8]}, {4 * (i % 8)};",
            "and.b32 %bits, %bits, 15;",
            f"or.b32 %bits, %bits, {_MAGIC};",
            "sub.f32 %number, %bits, %point;",
            f"fma.rn.f32 %sum, %number, {register}, %sum;",
        ]
    lines.append("fma.rn.f32 %total, %sum, %scale, %total;")
    inputs = (total, words, x, Operand("zero", "f32"), Operand("scale", "f32"))
    return Instruction("dot", tuple(lines), inputs, total, has_effects=False, section="9.7.3.6")


def _sum_of_warp() -> Instruction:
    """Return the instruction that adds up numbers of a warp's lanes."""
    value = Operand("value", "f32")
    lines = [".reg .f32 %other;"]
    for distance in (16, 8, 4, 2, 1):
        lines.append(f"shfl.sync.bfly.b32 %other, %value, {distance}, 31, -1;")
        lines.append("add.f32 %value, %value, %other;")
    return Instruction("sum_of_warp", tuple(lines), (value,), value, threads=32, section="9.7.9.6")


sum_of_warp = _sum_of_warp()
_word, _four_words = load("global", "bits32"), load("global", "bits32", 4)
_pair, _four = load("global", "f32", 2), load("global", "f32", 4)
_nothing = Instruction(
    "nothing", ("mov.f32 %value, 0f00000000;",), (), Operand("value", "f32"), has_effects=False
)


def _few_rows(threads: int, put: DeviceFunction) -> DeviceFunction:
    """Return the function by which a block computes four columns with each of its warps."""
    dot, warps = _dot(), threads // 32

    @device
    def sums_of(a: Any, b: Any, pairs: Any, k: Any, block: Any, lane: Any) -> Any:
        total = _nothing()
        for at in range(lane * 32, k, 1024):
            x = a + 4 * at
            x0, x1, x2, x3 = _four(x), _four(x + 16), _four(x + 32), _four(x + 48)
            x4, x5, x6, x7 = _four(x + 64), _four(x + 80), _four(x + 96), _four(x + 112)
            pair = _pair(pairs + 8 * quotient(at, block))
            whole = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7
            total = dot(total, _four_words(b + at // 2), whole, pair[1], pair[0])
        return sum_of_warp(total)

    @device
    def multiply(
        thread: Any, a: Any, b: Any, pairs: Any, sizes: Any, a_row: Any, c: Any, c_row: Any,
        bias: Any, own: Any,
    ) -> None:  # fmt: skip
        m, n, k, block = sizes
        lane, warp = thread & 31, thread >> 5
        first = (block_x() * warps + warp) * 4
        blocks = quotient(k + block - 1, block)
        if first < n:
            for row in range(m):
                x = a + row * a_row
                one, two = min(first + 1, n - 1), min(first + 2, n - 1)
                three = min(first + 3, n - 1)
                half, apart = k // 2, 8 * blocks
                s0 = sums_of(x, b + first * half, pairs + first * apart, k, block, lane)
                s1 = sums_of(x, b + one * half, pairs + one * apart, k, block, lane)
                s2 = sums_of(x, b + two * half, pairs + two * apart, k, block, lane)
                s3 = sums_of(x, b + three * half, pairs + three * apart, k, block, lane)
                if lane == 0:
                    put((s0, s1, s2, s3), row, first, n, c, c_row, bias, own)

    return multiply


def _copy_to_rows(tile: Tile) -> DeviceFunction:
    """Return the copy of a stage's numbers as float32 to rows of 128 bytes (`swizzle`)."""
    step, widen, put = tile.threads // 4, _widen(1), store("shared", "f32", 4)
    count = tile.n // step

    @device
    def copy(thread: Any, to: Any, b: Any, pairs: Any, column0: Any, k0: Any, sizes: Any) -> None:
        n, k, block, blocks = sizes
        row, word = thread >> 2, thread & 3
        at = k0 + 8 * word
        for i in range(count):
            line = row + i * step
            column = min(column0 + line, n - 1)
            bits = _word(b + (column * k + at) // 2)
            pair = _pair(pairs + 8 * (column * blocks + quotient(at, block)))
            x, scale = widen((bits,), pair[1]), pair[0]
            place, piece = to + line * 128, 2 * word
            put(place + ((piece ^ (line & 7)) << 4),
                (x[0] * scale, x[1] * scale, x[2] * scale, x[3] * scale))  # fmt: skip
            put(place + (((piece + 1) ^ (line & 7)) << 4),
                (x[4] * scale, x[5] * scale, x[6] * scale, x[7] * scale))  # fmt: skip

    return copy


def _copy_to_columns(tile: FloatTile) -> DeviceFunction:
    """Return the copy of a stage's numbers, a word of each column, to a row for each k."""
    widen, put, row_bytes = _widen(1), store("shared", "f32"), tile.row_b
    columns, threads = tile.n, tile.threads

    @device
    def copy(thread: Any, to: Any, b: Any, pairs: Any, column0: Any, k0: Any, sizes: Any) -> None:
        n, k, block, blocks = sizes
        for line in range(thread, columns, threads):
            column = min(column0 + line, n - 1)
            bits = _word(b + (column * k + k0) // 2)
            pair = _pair(pairs + 8 * (column * blocks + quotient(k0, block)))
            x, place = widen((bits,), pair[1]), to + line * 4
            put(place, x[0] * pair[0])
            put(place + row_bytes, x[1] * pair[0])
            put(place + 2 * row_bytes, x[2] * pair[0])
            put(place + 3 * row_bytes, x[3] * pair[0])
            put(place + 4 * row_bytes, x[4] * pair[0])
            put(place + 5 * row_bytes, x[5] * pair[0])
            put(place + 6 * row_bytes, x[6] * pair[0])
            put(place + 7 * row_bytes, x[7] * pair[0])

    return copy


@functools.cache
def nibble_product_function(tile: Tile | FloatTile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the function of a kernel."""
    rows, columns, k_columns, threads = tile.m, tile.n, tile.k, tile.threads
    is_float = isinstance(tile, FloatTile)
    if isinstance(tile, FloatTile):
        copy_a, copy_b = copy_transposed(rows, threads, tile.row_a), _copy_to_columns(tile)
        a_bytes, unit = tile.k * tile.row_a, 1
    else:
        copy_a, copy_b = copy_rows(rows, threads, 4, True), _copy_to_rows(tile)
        a_bytes, unit = rows * 128, 4

    @device
    def fill(thread: Any, to: Any, stage: Any, given: Any) -> None:
        a, b, pairs, row, column, m, n, k, a_row, block, blocks = given
        copy_a(thread, to, a, row, m, a_row, stage * k_columns * unit, k * unit)
        copy_b(thread, to + a_bytes, b, pairs, column, stage * k_columns, (n, k, block, blocks))

    multiply = float_ring(tile, fill) if is_float else ring_product(tile, fill)  # type: ignore[arg-type]
    begin = operand_places(epilogue)
    finish = store_tile(rows, columns, threads, tile.pitch, "f32", tile.is_aligned, epilogue)
    few = _few_rows(threads, store_four("f32", tile.is_aligned, epilogue))

    def kernel(a, b, pairs, c, bias, operands, m, n, k, block, a_row, c_row, status):  # type: ignore[no-untyped-def]
        thread, start = thread_index(), shared_start()
        own = begin(operands, 0, 0)
        if m <= FEW_ROWS:
            few(thread, a, b, pairs, (m, n, k, block), a_row, c, c_row, bias, own)
        else:
            row, column = block_x() * rows, block_y() * columns
            blocks = quotient(k + block - 1, block)
            given = (a, b, pairs, row, column, m, n, k, a_row, block, blocks)
            multiply(thread, start, (k + k_columns - 1) // k_columns, given)
            finish(thread, start, c, row, column, m, n, c_row, bias, own)

    return kernel


@cuda_factory
def nibble_product(
    element: str, m: int, n: int, is_aligned: int, bias: str, expression: str, operands: str
) -> Body | None:
    """Product of float32 (or tf32) with weights of 4 bits; None where an expression has no form."""
    from ..expressions import NoForm

    tile = nibble_tile(element, m, n, bool(is_aligned))
    epilogue = Epilogue(bias, None, expression, tuple(operands))  # type: ignore[arg-type]
    try:
        function = nibble_product_function(tile, epilogue)
    except NoForm:
        return None

    def launch(f: Fields, limits: Limits) -> Launch:
        grid = (-(-f["m"] // tile.m), -(-f["n"] // tile.n), 1)
        if 0 < f["m"] <= FEW_ROWS:
            grid = (-(-f["n"] // (_COLUMNS * tile.threads // 32)), 1, 1)
        return Launch((0, 1, 1) if 0 in grid else grid, (tile.threads, 1, 1))

    return Body(function, launch, None, Bounds(tile.threads, 1, tile.shared_bytes))


def nibble_tile(element: str, m: int, n: int, is_aligned: bool) -> Tile | FloatTile:
    """Return the tile of a product with weights of 4 bits."""
    if element == "f32":
        return FloatTile(m, n, 4, "nk", is_aligned)
    return Tile("tf32", "f32", m, n, 32, 32, 3, "nk", is_aligned)
