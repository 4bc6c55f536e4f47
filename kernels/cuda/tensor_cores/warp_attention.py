"""Attention of a warp's 16 rows to one tile of keys, with online softmax: `mma.sync`.

Scores, softmax and the product with values are one text, in registers throughout: a fragment of
scores, rounded to 16 bits, is a fragment of the left operand of the next product. Dao 2023
(FlashAttention-2), algorithm 1; Milakov and Gimelshein 2018 for the softmax. PTX ISA 9.0, sections
9.7.14.5 (mma, ldmatrix), 9.7.9.6 (shfl.sync), 9.7.3.21 (ex2).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from ..ptx import Instruction, Operand
from .swizzle import ROW

_LOWEST = "0fF149F2CA"
"""-1e30: the maximum of no scores, finite, so that differences of two are numbers."""
_MINUS_INFINITY = "0fFF800000"
_MMA = "mma.sync.aligned.m16n8k16.row.col.f32"
_LOAD = "ldmatrix.sync.aligned.m8n8.x4"


@dataclass(frozen=True)
class AttentionTile:
    """How attention is cut.

    Attributes
    ----------
    element : str
        Type of queries, keys and values in memory.
    result : str
        That of the result.
    head : int
        Elements of a head, 64 or 128; smaller heads have zeros behind.
    rows : int
        Queries of a block, 16 for each warp.
    keys : int
        Keys of a stage.
    is_masked : bool
        Whether a mask is added to the scores.
    """

    element: Literal["bf16", "f16"]
    result: Literal["bf16", "f16", "f32"]
    head: int
    rows: int = 128
    keys: int = 64
    is_masked: bool = False

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 2 * self.rows

    @property
    def panels(self) -> int:
        """Parts of a head of 64 elements: rows of 128 bytes."""
        return self.head // 64

    @property
    def query_bytes(self) -> int:
        """Shared memory of the queries."""
        return self.panels * self.rows * ROW

    @property
    def tile_bytes(self) -> int:
        """Shared memory of a tile of keys, or of values."""
        return self.panels * self.keys * ROW

    @property
    def pitch(self) -> int:
        """Bytes from row to row of the result in shared memory."""
        return (self.head + 8) * 4

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block: queries, two stages of keys and values; then the result."""
        return max(self.query_bytes + 4 * self.tile_bytes, self.rows * self.pitch)

    @property
    def state(self) -> Operand:
        """What a thread keeps: sums of values, then maxima and sums of its two rows."""
        return Operand("state", "f32", self.head // 2 + 4)

    @property
    def queries(self) -> Operand:
        """Fragments of the queries, four registers for 16 elements."""
        return Operand("query", "b32", self.head // 4)


def _braced(prefix: str, first: int, count: int) -> str:
    return "{" + ", ".join(f"%{prefix}{i}" for i in range(first, first + count)) + "}"


@functools.cache
def load_queries(tile: AttentionTile) -> Instruction:
    """Return the instruction that loads the fragments of a warp's queries from a lane's place."""
    lines = [".reg .b32 %place;"]
    for step in range(tile.head // 16):
        panel, piece = divmod(step, 4)
        lines.append(f"xor.b32 %place, %at, {32 * piece};")
        to = _braced("query_", 4 * step, 4)
        lines.append(f"{_LOAD}.shared.b16 {to}, [%place + {panel * tile.rows * ROW}];")
    inputs = (Operand("at", "b32"),)
    return Instruction("load_queries", tuple(lines), inputs, tile.queries, threads=32)


@functools.cache
def begin_attention(tile: AttentionTile) -> Instruction:
    """Return the instruction that gives the state before any key."""
    registers = tile.state.registers
    values = ["0f00000000"] * (tile.head // 2) + [_LOWEST] * 2 + ["0f00000000"] * 2
    lines = [f"mov.f32 {to}, {value};" for to, value in zip(registers, values, strict=True)]
    return Instruction("begin_attention", tuple(lines), (), tile.state, has_effects=False)


def _scores(tile: AttentionTile) -> list[str]:
    kinds = f"{tile.element}.{tile.element}.f32"
    lines = [f"mov.f32 %s{i}, 0f00000000;" for i in range(tile.keys // 2)]
    for step in range(tile.head // 16):
        panel, piece = divmod(step, 4)
        lines.append(f"xor.b32 %place, %at_keys, {32 * piece};")
        for i in range(tile.keys // 16):
            offset = panel * tile.keys * ROW + i * 16 * ROW
            lines.append(f"{_LOAD}.shared.b16 {_braced('f', 0, 4)}, [%place + {offset}];")
            for half in range(2):
                c = _braced("s", 8 * i + 4 * half, 4)
                operands = f"{_braced('query_', 4 * step, 4)}, {_braced('f', 2 * half, 2)}"
                lines.append(f"{_MMA}.{kinds} {c}, {operands}, {c};")
    return lines


def _hide(tile: AttentionTile) -> list[str]:
    """Hide keys from the limit of a row on; limits count from the lane's first column."""
    lines = []
    for i in range(tile.keys // 2):
        column, row = 8 * (i // 4) + i % 2, i % 4 // 2
        lines.append(f"setp.le.s32 %hidden, %limit{row}, {column};")
        lines.append(f"selp.f32 %s{i}, {_MINUS_INFINITY}, %s{i}, %hidden;")
    return lines


def _add_mask(tile: AttentionTile) -> list[str]:
    """Add the mask's elements of keys that a row sees, in the unit of scores before their scale."""
    lines = []
    for i in range(tile.keys // 2):
        column, row = 8 * (i // 4) + i % 2, i % 4 // 2
        lines.append(f"setp.gt.s32 %seen, %limit{row}, {column};")
        lines.append(f"@%seen ld.global.b32 %other, [%mask{row} + {4 * column}];")
        lines.append(f"@%seen fma.rn.f32 %s{i}, %other, %inverse, %s{i};")
    return lines


def _softmax(tile: AttentionTile, row: int) -> list[str]:
    """Turn scores of a row into exponentials, and scale what the state has by its new maximum."""
    maximum, total = (f"%state_{tile.head // 2 + 2 * i + row}" for i in range(2))
    mine = [i for i in range(tile.keys // 2) if i % 4 // 2 == row]
    lines = [f"mov.f32 %top, %s{mine[0]};"]
    lines += [f"max.NaN.f32 %top, %top, %s{i};" for i in mine[1:]]
    for distance in (1, 2):
        lines.append(f"shfl.sync.bfly.b32 %other, %top, {distance}, 31, -1;")
        lines.append("max.NaN.f32 %top, %top, %other;")
    lines += [
        "mul.f32 %top, %top, %scale;",
        f"max.NaN.f32 %top, %top, {maximum};",
        f"sub.f32 %factor, {maximum}, %top;",
        "ex2.approx.ftz.f32 %factor, %factor;",
        f"mov.f32 {maximum}, %top;",
        f"mul.f32 {total}, {total}, %factor;",
        "mul.f32 %top, %top, 0fBF800000;",
    ]
    for i in mine:
        lines.append(f"fma.rn.f32 %s{i}, %s{i}, %scale, %top;")
        lines.append(f"ex2.approx.ftz.f32 %s{i}, %s{i};")
        lines.append(f"add.f32 {total}, {total}, %s{i};")
    lines += [
        f"mul.f32 %state_{i}, %state_{i}, %factor;"
        for i in range(tile.head // 2)
        if i % 4 // 2 == row
    ]
    return lines


def _values(tile: AttentionTile) -> list[str]:
    kinds = f"{tile.element}.{tile.element}.f32"
    lines = []
    for step in range(tile.keys // 16):
        # Two neighbouring fragments of scores: rows 0 to 7 and 8 to 15 of the first, of the second.
        for i in range(4):
            low = 8 * step + 2 * i
            lines.append(f"cvt.rn.{tile.element}x2.f32 %p{i}, %s{low + 1}, %s{low};")
        for columns in range(tile.head // 16):
            panel, piece = divmod(columns, 4)
            offset = panel * tile.keys * ROW + step * 16 * ROW
            lines.append(f"xor.b32 %place, %at_values, {32 * piece};")
            lines.append(f"{_LOAD}.trans.shared.b16 {_braced('f', 0, 4)}, [%place + {offset}];")
            for half in range(2):
                c = _braced("state_", 8 * columns + 4 * half, 4)
                operands = f"{_braced('p', 0, 4)}, {_braced('f', 2 * half, 2)}"
                lines.append(f"{_MMA}.{kinds} {c}, {operands}, {c};")
    return lines


@functools.cache
def attend(tile: AttentionTile, hides: bool) -> Instruction:
    """Return the instruction that adds a tile of keys and values to a warp's state.

    Its arguments are the state, the queries, a lane's places in keys and values, the scale of
    scores (times log2 e), and the keys that its two rows see, counted from the lane's first column
    (without ``hides`` they do not count). Where there is a mask, the inverse of the scale (without
    log2 e) follows, and the addresses of its elements of the two rows, at the lane's first column.
    """
    declared = (
        f".reg .f32 %s<{tile.keys // 2}>;",
        ".reg .f32 %top, %other, %factor;",
        ".reg .b32 %place;",
        ".reg .b32 %f<4>;",
        ".reg .b32 %p<4>;",
        ".reg .pred %hidden, %seen;",
    )
    lines = (
        *declared,
        *_scores(tile),
        *(_add_mask(tile) if tile.is_masked else ()),
        *(_hide(tile) if hides else ()),
        *_softmax(tile, 0),
        *_softmax(tile, 1),
        *_values(tile),
    )
    inputs: tuple[Operand, ...] = (
        tile.state,
        tile.queries,
        Operand("at_keys", "b32"),
        Operand("at_values", "b32"),
        Operand("scale", "f32"),
        Operand("limit0", "s32"),
        Operand("limit1", "s32"),
    )
    if tile.is_masked:
        inputs += Operand("inverse", "f32"), Operand("mask0", "b64"), Operand("mask1", "b64")
    name = "attend_and_hide" if hides else "attend"
    return Instruction(name, lines, inputs, tile.state, threads=32, section="9.7.14.5")


@functools.cache
def end_attention(tile: AttentionTile) -> Instruction:
    """Return the instruction that divides sums of values by sums of exponentials.

    Rows that see no key become zeros.
    """
    sums = Operand("sum", "f32", tile.head // 2)
    lines = [".reg .f32 %total, %other, %inverse;", ".reg .pred %none;"]
    for row in range(2):
        lines.append(f"mov.f32 %total, %state_{tile.head // 2 + 2 + row};")
        for distance in (1, 2):
            lines.append(f"shfl.sync.bfly.b32 %other, %total, {distance}, 31, -1;")
            lines.append("add.f32 %total, %total, %other;")
        lines.append("setp.eq.f32 %none, %total, 0f00000000;")
        lines.append("rcp.rn.f32 %inverse, %total;")
        lines.append("selp.f32 %inverse, 0f00000000, %inverse, %none;")
        lines += [
            f"mul.f32 %sum_{i}, %state_{i}, %inverse;"
            for i in range(tile.head // 2)
            if i % 4 // 2 == row
        ]
    inputs = (tile.state,)
    return Instruction("end_attention", tuple(lines), inputs, sums, threads=32, section="9.7.3")
