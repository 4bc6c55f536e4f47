"""Products with weights that are kept small in memory and widened in registers (`packed_rows`).

Of few rows, what is read is what takes the time. Of many, four at a time multiply weights whose
panel stays in the second-level cache: widening costs instructions beside the multiply-adds, and
loads less.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel_factory
from ..simd import (
    load_f32,
    splat,
    stack_words,
    store_f32,
    vload,
    vload_first,
    vstore,
    vstore_first,
)
from ..target import EMBEDDED_BROADCAST, LANES
from .packed_rows import packed_rows
from .packed_weights import PANEL, VECTORS, rows_of_unit, unit_bytes
from .weight_streams import make_head_at, make_places

_F = np.float32
MOST_ROWS = 6 if EMBEDDED_BROADCAST else 4
"""Rows whose sums fit the registers beside a unit of short floats."""


@njit
def store_row(c: Pointer, bias: Pointer, y: Pointer, column: int, count: int) -> None:
    """Store a row of a panel, with the bias of its columns."""
    for v in range(VECTORS):
        left = count - v * LANES
        if left <= 0:
            return
        value = vload(c, v * LANES)
        if left >= LANES:
            if bias != 0:
                value = value + vload(bias, column + v * LANES)
            vstore(y, column + v * LANES, value)
        else:
            if bias != 0:
                value = value + vload_first(bias, column + v * LANES, left)
            vstore_first(y, column + v * LANES, value, left)


def panel_loop(kind: str, form: str, multiply_few: Any, most: int = 4, terms: int = 1) -> Any:
    """Make the loop over panels of weights, and over rows: ``most``, four, two or one at a time.

    With two ``terms`` every second row belongs to the one before, and they have one result.

    Scales are of ``form``: float32, or float16 where that holds all of them.
    ``multiply_few`` writes the sums of so many rows and a panel; it may use a piece of memory.
    Meanwhile it asks for weights that come later: where all rows are done at once, for those
    ``distance`` bytes on (a processor fetches by itself at most to the end of a page, and is late
    at the begin of each), else for a part of the next panel, so that memory is read while any rows
    are multiplied.
    """
    step, places, room = unit_bytes(kind), make_places(kind, form), most * PANEL

    @njit
    def loop(
        part: int, until: int, parts: int, x: Pointer, x_row: int, row_bytes: int, w: Pointer,
        zeros: int, heads: int, zero: float, bias: Pointer, y: Pointer, rows: int, depth: int,
        columns: int, block: int, distance: int,
    ) -> None:  # fmt: skip
        sums, padded = stack_words(room), stack_words(64)
        rows *= terms
        panels = (columns + PANEL - 1) // PANEL
        head, apart, panel_bytes = places(depth, block, zeros, heads)
        for panel in range(panels * part // parts, panels * until // parts):
            column = panel * PANEL
            count = min(PANEL, columns - column)
            source = w + panel * panel_bytes
            row = 0
            while row < rows:
                left = rows - row
                several = 4 if left >= 4 else (2 if left >= 2 else 1)
                if left >= most:
                    several = most
                ahead, ahead_step, ahead_gap = source + distance, step, head
                if several < rows:
                    ahead = source + panel_bytes + panel_bytes * row // rows
                    ahead_step, ahead_gap = step * several // rows, head * several // rows
                if heads == 0:
                    ahead_gap = 0
                multiply_few(
                    several, x + row * row_bytes, x_row, source, head, apart, zeros, heads, zero,
                    depth, block, sums, padded, ahead, ahead_step, ahead_gap,
                )  # fmt: skip
                for r in range(several // terms):
                    at = y + (row // terms + r) * columns * 4
                    store_row(sums + r * PANEL * 4, bias, at, column, count)
                row += several

    return loop


@kernel_factory
def packed_product(kind: str, form: str = "f32", every: int = 1) -> Callable[..., int]:
    """Product with weights of a kind of `packed_weights`: u2, u4, u8, f16 or bf16.

    ``y`` (rows, columns), dense, is ``x`` (rows, depth), with rows ``x_row`` elements apart, times
    weights (depth, columns), plus a bias for each column (0: none). Weights of whole numbers are
    streams (`weight_streams`) with scales of ``form`` (f32 or f16) for each ``block`` of rows where
    ``heads`` is not 0, else for all, and with zeros where ``zeros`` is not 0, else the zero is
    ``zero``. Panels are split into parts. ``every`` is that of `packed_rows`, ``distance`` of
    `panel_loop`.
    """
    each, step, head_at = rows_of_unit(kind), unit_bytes(kind), make_head_at(form)

    most = MOST_ROWS if kind == "f24" else 4

    @njit
    def few(
        count: int, x: Pointer, x_row: int, w: Pointer, scales: Pointer, zeros: Pointer,
        zero: float, apart: int, gap: int, blocks: int, units: int, c: Pointer, ahead: Pointer,
        ahead_step: int, ahead_gap: int,
    ) -> None:  # fmt: skip
        if count > 4:
            packed_rows(
                kind, form, most, every, x, x_row, w, scales, zeros, zero, apart, gap, blocks,
                units, c, ahead, ahead_step, ahead_gap,
            )  # fmt: skip
        elif count == 4:
            packed_rows(
                kind, form, 4, every, x, x_row, w, scales, zeros, zero, apart, gap, blocks, units,
                c, ahead, ahead_step, ahead_gap,
            )  # fmt: skip
        elif count == 2:
            packed_rows(
                kind, form, 2, every, x, x_row, w, scales, zeros, zero, apart, gap, blocks, units,
                c, ahead, ahead_step, ahead_gap,
            )  # fmt: skip
        else:
            packed_rows(
                kind, form, 1, every, x, x_row, w, scales, zeros, zero, apart, gap, blocks, units,
                c, ahead, ahead_step, ahead_gap,
            )  # fmt: skip

    @njit
    def multiply_few(
        count: int, x: Pointer, x_row: int, panel: Pointer, head: int, apart: int, zeros: int,
        heads: int, zero: float, depth: int, block: int, c: Pointer, padded: Pointer,
        ahead: Pointer, ahead_step: int, ahead_gap: int,
    ) -> None:  # fmt: skip
        for i in range(count * VECTORS):
            vstore(c, i * LANES, splat(_F(0.0)))
        blocks, w = depth // block, panel + head
        scales, points = head_at(panel, apart, heads, 0)
        between, gap = (apart, head) if heads != 0 else (0, 0)
        few(count, x, x_row, w, scales, points if zeros != 0 else 0, zero, between, gap, blocks,
            block // each, c, ahead, ahead_step, ahead_gap)  # fmt: skip
        units = (depth - blocks * block) // each
        scales, points = head_at(panel, apart, heads, blocks)
        w += blocks * apart
        ahead += blocks * (block // each * ahead_step + ahead_gap)
        if units > 0:
            rest = x + blocks * block * 4
            few(count, rest, x_row, w, scales, points if zeros != 0 else 0, zero, 0, 0, 1, units, c,
                ahead, ahead_step, 0)  # fmt: skip
        done = blocks * block + units * each
        if done < depth:
            # What is beyond the end of a row must not be read.
            for r in range(count):
                for i in range(each):
                    value = load_f32(x, r * x_row + done + i) if done + i < depth else _F(0.0)
                    store_f32(padded, r * each + i, value)
            w += units * step
            few(count, padded, each, w, scales, points if zeros != 0 else 0, zero, 0, 0, 1, 1, c,
                ahead, 0, 0)  # fmt: skip

    loop = panel_loop(kind, form, multiply_few, most)

    def packed_product(
        thread: int,
        part: int,
        until: int,
        parts: int,
        x: Pointer,
        w: Pointer,
        zeros: int,
        heads: int,
        bias: Pointer,
        y: Pointer,
        rows: int,
        depth: int,
        columns: int,
        x_row: int,
        block: int,
        zero: float,
        distance: int,
    ) -> int:
        loop(
            part, until, parts, x, x_row, x_row * 4, w, zeros, heads, zero, bias, y, rows, depth,
            columns, block, distance,
        )  # fmt: skip
        return 0

    return packed_product
