"""Epilogue of products: a tile of sums in shared memory becomes rows of the result in memory.

Sums lie in shared memory whatever instruction made them, so that each thread handles four
neighbouring columns, and a warp writes whole lines. An epilogue adds a bias for each column (or
row) and applies a function to each element.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...function_sources import define
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
    expression : str
        Of the pointwise language, applied to each element after that: ``x0``, and what operands
        have there (``x1`` ...). Elementwise steps of the CPU and of GPUs have the same text.
    operands : tuple of str
        How each lies, float32 (int32 where the result is) all: ``v``, with an element for each
        column, at multiples of 16 bytes; ``u``, at any place; ``s``, one element for all columns.
        Rows may differ in all.
    function : DeviceFunction, optional
        Applied to each element instead, without operands.
    """

    bias: Literal["", "column", "row", "scaled"] = ""
    function: DeviceFunction | None = None
    expression: str = ""
    operands: tuple[str, ...] = ()

    @property
    def column_bytes(self) -> int:
        """Bytes of what belongs to a column."""
        return 8 if self.bias == "scaled" else 4


OPERAND_WORDS = 4
"""Words of an operand in the record: address, bytes from row to row, along the outer and the inner
axis of matrices (of convolutions: from group to group, and none)."""


@device
def _unchanged(x: Any) -> Any:
    return x


def function_of(expression: str, operands: int, kind: str = "f32") -> DeviceFunction:
    """Return the function of a sum, and of so many operands, that an expression stands for.

    Raises
    ------
    NoForm
        It is none of numbers of this kind.
    """
    from .. import memory, numbers  # of numba-cuda, which products without expressions do not need
    from ..expressions import NoForm, Statements

    names = [f"x{i}" for i in range(1 + operands)]
    statements = Statements.of(expression, [kind] * len(names))
    lines = [f"{name} = cast_{kind}({name})" for name in names] + statements.lines
    if any("status" in line for line in lines):
        raise NoForm(expression)
    source = [f"def function({', '.join(names)}):", *(f"    {line}" for line in lines)]
    scope: dict[str, Any] = {"np": np, **memory.SCOPE, **numbers.SCOPE}
    define("\n".join([*source, f"    return cast_{kind}(result)"]), scope)
    scope["function"].__module__ = __name__
    return device(scope["function"])


@functools.cache
def operand_places(epilogue: Epilogue) -> DeviceFunction:
    """Return the function that reads the record of an epilogue's operands.

    It is given the record's address and a matrix's places along two axes, and returns address and
    bytes from row to row of each operand.
    """
    word = load("global", "i64")
    lines = ["def places(record, outer, inner):"]
    for i in range(len(epilogue.operands)):
        at = [f"word(record + {8 * (OPERAND_WORDS * i + j)})" for j in range(OPERAND_WORDS)]
        lines.append(f"    a{i} = {at[0]} + outer * {at[2]} + inner * {at[3]}")
        lines.append(f"    r{i} = {at[1]}")
    names = "".join(f"a{i}, r{i}, " for i in range(len(epilogue.operands)))
    scope: dict[str, Any] = {"word": word}
    define("\n".join([*lines, f"    return ({names or 'record, '})"]), scope)
    scope["places"].__module__ = __name__
    return device(scope["places"])


def _four_of(kind: str, number: str) -> DeviceFunction:
    """Return the load of an operand's elements of four columns.

    It is given the address of its row, the first column, and the number of columns.
    """
    one, four = load("global", number), load("global", number, 4)

    @device
    def same(address: Any, column: Any, end: Any) -> Any:
        value = one(address)
        return value, value, value, value

    @device
    def singles(address: Any, column: Any, end: Any) -> Any:
        at = address + 4 * column
        x = one(at)
        y = one(at + 4) if column + 1 < end else x
        z = one(at + 8) if column + 2 < end else x
        w = one(at + 12) if column + 3 < end else x
        return x, y, z, w

    @device
    def aligned(address: Any, column: Any, end: Any) -> Any:
        if column + 4 <= end:
            return four(address + 4 * column)
        return singles(address, column, end)

    return {"s": same, "u": singles, "v": aligned}[kind]


def _applied(epilogue: Epilogue, number: str) -> DeviceFunction:
    """Return what becomes of four neighbouring sums with their bias, and of operands there.

    It is given the sums, row and column, the number of columns, and the operands' places.
    """
    function, count = epilogue.function or _unchanged, len(epilogue.operands)
    if epilogue.expression:
        function = function_of(epilogue.expression, count, number)
    scope: dict[str, Any] = {"function": function}
    lines = ["def applied(four, row, column, end, own):"]
    for i, kind in enumerate(epilogue.operands):
        scope[f"load{i}"] = _four_of(kind, number)
        lines.append(f"    q{i} = load{i}(own[{2 * i}] + row * own[{2 * i + 1}], column, end)")
    for j in range(4):
        others = "".join(f", q{i}[{j}]" for i in range(count))
        lines.append(f"    y{j} = function(four[{j}]{others})")
    define("\n".join([*lines, "    return y0, y1, y2, y3"]), scope)
    scope["applied"].__module__ = __name__
    return device(scope["applied"])


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
    tile's first row and column, rows and columns of the result, bytes from row to row of it, the
    address of the bias, and what `operand_places` gives.
    """
    size = RESULT_BYTES[result]
    quads, total = columns // 4, rows * columns // 4
    sums = load("shared", "i32" if sum_kind == "s32" else "f32", 4)
    load_bias, load_pair = load("global", "f32"), load("global", "f32", 2)
    is_scaled = epilogue.bias == "scaled"
    as_float = to_float if sum_kind == "s32" else _unchanged
    assert sum_kind == "f32" or is_scaled or result == "i32", "sums of integers have no scale"
    applied = _applied(epilogue, "i32" if result == "i32" else "f32")
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
        own: Any,
    ) -> None:
        for i in range(thread, total, threads):
            row = row0 + i // quads
            column = column0 + 4 * (i % quads)
            if row < m and column < n:
                four = sums(place + (i // quads) * pitch + 16 * (i % quads))
                x = with_bias(four[0], row, column, bias, n)
                y = with_bias(four[1], row, column + 1, bias, n)
                z = with_bias(four[2], row, column + 2, bias, n)
                w = with_bias(four[3], row, column + 3, bias, n)
                x, y, z, w = applied((x, y, z, w), row, column, n, own)
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
