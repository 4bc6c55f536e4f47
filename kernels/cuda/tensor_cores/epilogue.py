"""Epilogue of products: a tile of sums in shared memory becomes rows of the result in memory.

Sums lie in shared memory whatever instruction made them, so that each thread handles four
neighbouring columns, and a warp writes whole lines. An epilogue adds a bias for each column (or
row) and applies a function to each element.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

from ..basic import load, store
from ..ptx import DeviceFunction, Instruction, Kind, Operand, device
from .tiles import Result

RESULT_BYTES = {"f32": 4, "i32": 4, "bf16": 2, "f16": 2}


@dataclass(frozen=True)
class Epilogue:
    """What becomes of each sum.

    Attributes
    ----------
    bias : str
        Whether a float32 is added, and whether it belongs to the column or the row; ``scaled``: a
        pair for each column, by which the sum is multiplied before (which is how products of
        integers become floats), and which is added.
    function : DeviceFunction, optional
        Applied to each element after that.
    """

    bias: Literal["", "column", "row", "scaled"] = ""
    function: DeviceFunction | None = None

    @property
    def column_bytes(self) -> int:
        """Bytes of what belongs to a column."""
        return 8 if self.bias == "scaled" else 4


@device
def _unchanged(x: Any) -> Any:
    return x


to_float = Instruction(
    "to_float",
    ("cvt.rn.f32.s32 %value, %number;",),
    (Operand("number", "s32"),),
    Operand("value", "f32"),
    has_effects=False,
    section="9.7.9.21",
)


@functools.cache
def _pack(kind: str) -> Instruction:
    """Round two float32 to 16 bits each, the first one in the lower half (section 9.7.9.21)."""
    inputs = (Operand("low", "f32"), Operand("high", "f32"))
    lines = (f"cvt.rn.{kind}x2.f32 %both, %high, %low;",)
    both = Operand("both", "b32")
    return Instruction(f"pack_{kind}", lines, inputs, both, has_effects=False, section="9.7.9.21")


@functools.cache
def store_tile(
    rows: int,
    columns: int,
    threads: int,
    pitch: int,
    result: Result,
    is_aligned: bool,
    epilogue: Epilogue,
    sum_kind: Kind = "f32",
) -> DeviceFunction:
    """Return the function by which a block stores a tile of sums.

    Its arguments are the thread, the tile's place in shared memory, the address of the result, the
    tile's first row and column, rows and columns of the result, bytes from row to row of it, and
    the address of the bias.
    """
    size = RESULT_BYTES[result]
    quads, total = columns // 4, rows * columns // 4
    sums = load("shared", "i32" if sum_kind == "s32" else "f32", 4)
    load_bias, load_pair = load("global", "f32"), load("global", "f32", 2)
    is_scaled = epilogue.bias == "scaled"
    as_float = to_float if sum_kind == "s32" else _unchanged
    assert sum_kind == "f32" or is_scaled or result == "i32", "sums of integers have no scale"
    function = epilogue.function or _unchanged
    is_column, is_row = epilogue.bias == "column", epilogue.bias == "row"
    is_integer, is_half = result == "i32", size == 2
    put_quad = store("global", "i32" if is_integer else "f32", 4)
    put_halves = store("global", "bits32", 2)
    put = store("global", "i32" if is_integer else "f32")
    put_half = store("global", "bits16")
    pack = _pack(result if is_half else "bf16")

    @device
    def put_one(address: Any, value: Any) -> None:
        if is_half:
            put_half(address, pack(value, value) & 0xFFFF)
        else:
            put(address, value)

    @device
    def scaled(value: Any, row: Any, column: Any, bias: Any, end: Any) -> Any:
        pair = load_pair(bias + 8 * min(column, end - 1))
        return as_float(value) * pair[0] + pair[1]

    @device
    def added(value: Any, row: Any, column: Any, bias: Any, end: Any) -> Any:
        if is_column and column < end:
            value = value + load_bias(bias + 4 * column)
        if is_row:
            value = value + load_bias(bias + 4 * row)
        return value

    with_bias = scaled if is_scaled else added

    @device
    def finished(value: Any, row: Any, column: Any, bias: Any, end: Any) -> Any:
        return function(with_bias(value, row, column, bias, end))

    @device
    def store_quad(address: Any, x: Any, y: Any, z: Any, w: Any) -> None:
        if is_half:
            put_halves(address, (pack(x, y), pack(z, w)))
        else:
            put_quad(address, (x, y, z, w))

    @device
    def store_sums(
        thread: Any,
        place: Any,
        c: Any,
        row0: Any,
        column0: Any,
        m: Any,
        n: Any,
        c_pitch: Any,
        bias: Any,
    ) -> None:
        for i in range(thread, total, threads):
            row = row0 + i // quads
            column = column0 + 4 * (i % quads)
            if row < m and column < n:
                four = sums(place + (i // quads) * pitch + 16 * (i % quads))
                x = finished(four[0], row, column, bias, n)
                y = finished(four[1], row, column + 1, bias, n)
                z = finished(four[2], row, column + 2, bias, n)
                w = finished(four[3], row, column + 3, bias, n)
                address = c + row * c_pitch + column * size
                if is_aligned and column + 4 <= n:
                    store_quad(address, x, y, z, w)
                else:
                    put_one(address, x)
                    if column + 1 < n:
                        put_one(address + size, y)
                    if column + 2 < n:
                        put_one(address + 2 * size, z)
                    if column + 3 < n:
                        put_one(address + 3 * size, w)

    return store_sums
