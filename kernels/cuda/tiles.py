"""Tiles of products by multiply-adds on numbers: the source that products and convolutions share.

A block of threads computes a tile of ``bm`` rows and ``bn`` columns; each thread ``tm`` x ``tn`` of
its elements, in registers. The operands' parts of ``bk`` numbers of depth lie in shared memory.
What differs is where an element of the left operand lies: rows of a matrix, or taps of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..function_sources import define
from . import memory, numbers
from .kernel import Fields, Launch, Limits
from .launches import over_tiles
from .threads import cuda

NUMBERS: dict[str, Any] = {
    "f32": np.float32, "f64": np.float64, "i32": np.int32, "u32": np.uint32, "i64": np.int64,
    "u64": np.uint64,
}  # fmt: skip
"""Types that tiles are made of."""


class Tile(NamedTuple):
    """Sizes of a tile, and of a thread's part of it; see the module's text."""

    bm: int
    bn: int
    bk: int
    tm: int
    tn: int

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.bm // self.tm * (self.bn // self.tn)


class Operand(NamedTuple):
    """Lines that find the left operand's elements.

    ``row`` are run for row ``m`` of the result, ``element`` for its element of depth ``k`` as well;
    they set ``place``, in elements from the begin of ``x``, and ``inside``.
    """

    row: Sequence[str]
    element: Sequence[str]


def kernel_of_tile(
    tile: Tile, kind: str, parameters: Sequence[str], head: Sequence[str], left: Operand,
    target: Sequence[str],
) -> Any:  # fmt: skip
    """Return the function of a kernel.

    Parameters
    ----------
    tile : Tile
    kind : str
        A key of `NUMBERS`; products of integers wrap.
    parameters : sequence of str
        Names of the record's words, of which ``x``, ``w`` and ``y`` are operands and result and
        ``bias`` has one element for each column, or is null.
    head : sequence of str
        Lines that set ``batches``, ``rows``, ``depth`` and ``columns``.
    left : Operand
    target : sequence of str
        Lines that set for a batch ``b`` the places ``w_first`` and ``bias_first``, the strides
        ``w_row`` and ``w_column``, and for row ``m`` the place ``y_first`` and ``y_column``.
    """
    source = _source(tile, kind, parameters, head, left, target)
    scope: dict[str, Any] = {"cuda": cuda, "np": np, **memory.SCOPE, **numbers.SCOPE}
    scope["Number"] = NUMBERS[kind]
    define(source, scope)
    return scope["body"]


def launch_of(tile: Tile, f: Fields, limits: Limits, sizes: tuple[int, int, int]) -> Launch:
    """Return the launch of a block for each tile of batches, rows and columns."""
    batches, rows, columns = sizes
    tiles = batches * -(-rows // tile.bm) * -(-columns // tile.bn)
    return over_tiles(tiles, tile.threads, limits)


def _source(
    tile: Tile, kind: str, parameters: Sequence[str], head: Sequence[str], left: Operand,
    target: Sequence[str],
) -> str:  # fmt: skip
    bm, bn, bk, tm, tn = tile
    across = bn // tn
    load, store = f"load_{kind}", f"store_{kind}"
    pairs = [(i, j) for i in range(tm) for j in range(tn)]
    lines = [
        f"def body({', '.join(parameters)}, status):",
        f"    left = cuda.shared.array({bk * (bm + 1)}, Number)",
        f"    right = cuda.shared.array({bk * bn}, Number)",
        *_indented(1, head),
        "    thread = cuda.threadIdx.x",
        f"    tx, ty = thread % {across}, thread // {across}",
        f"    row_tiles, column_tiles = (rows + {bm - 1}) // {bm}, (columns + {bn - 1}) // {bn}",
        "    tiles = batches * row_tiles * column_tiles",
        "    for tile in range(cuda.blockIdx.x, tiles, cuda.gridDim.x):",
        f"        n0 = tile % column_tiles * {bn}",
        f"        m0 = tile // column_tiles % row_tiles * {bm}",
        "        b = tile // (column_tiles * row_tiles)",
        "        m = m0",
        *_indented(2, target),
        *(f"        s{i}_{j} = Number(0)" for i, j in pairs),
        f"        for k0 in range(0, depth, {bk}):",
        f"            for e in range(thread, {bm * bk}, {tile.threads}):",
        f"                k, m = k0 + e % {bk}, m0 + e // {bk}",
        "                value = Number(0)",
        "                if k < depth and m < rows:",
        *_indented(5, [*left.row, *left.element]),
        "                    if inside:",
        f"                        value = {load}(x, place)",
        f"                left[e % {bk} * {bm + 1} + e // {bk}] = value",
        f"            for e in range(thread, {bk * bn}, {tile.threads}):",
        f"                k, n = k0 + e // {bn}, n0 + e % {bn}",
        "                value = Number(0)",
        "                if k < depth and n < columns:",
        f"                    value = {load}(w, w_first + k * w_row + n * w_column)",
        "                right[e] = value",
        "            cuda.syncthreads()",
        f"            for k in range({bk}):",
        *(f"                a{i} = left[k * {bm + 1} + ty * {tm} + {i}]" for i in range(tm)),
        # Neighbouring threads read neighbouring elements.
        *(f"                b{j} = right[k * {bn} + {j * across} + tx]" for j in range(tn)),
        # A sum of two integers is wider than they are, unless it is cut off.
        *(f"                s{i}_{j} = Number(s{i}_{j} + a{i} * b{j})" for i, j in pairs),
        "            cuda.syncthreads()",
    ]
    for i in range(tm):
        lines.append(f"        m = m0 + ty * {tm} + {i}")
        lines.append("        if m < rows:")
        lines += _indented(3, target)
        for j in range(tn):
            lines += _indented(
                3,
                [
                    f"n = n0 + {j * across} + tx",
                    "if n < columns:",
                    "    if bias != 0:",
                    f"        shift = {load}(bias, bias_first + n * bias_column)",
                    f"        s{i}_{j} = Number(s{i}_{j} + shift)",
                    f"    {store}(y, y_first + n * y_column, s{i}_{j})",
                ],
            )
    return "\n".join(lines)


def _indented(levels: int, lines: Sequence[str]) -> list[str]:
    return [f"{' ' * 4 * levels}{line}" for line in lines]
