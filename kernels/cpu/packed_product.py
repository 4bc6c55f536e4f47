"""Products with weights that are kept small in memory.

Few rows multiply weights that are widened in registers (`packed_rows`): what is read is what takes
the time. Where there are more, a part of a panel is widened into memory that stays in cache, and
the tile of all other products multiplies all rows by it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from ..fields import Tiles
from ..registry import Pointer, kernel_factory
from ..simd import (
    load_f32,
    splat,
    stack_words,
    store_f32,
    store_i64,
    vload,
    vload_first,
    vstore,
    vstore_first,
)
from ..target import LANES
from .packed_rows import packed_rows
from .packed_weights import PANEL, VECTORS, make_widen, rows_of_unit, unit_bytes
from .panel import run_tiles
from .tile import FIRST, LAST, TILE, TILE_WORDS

MOST_ROWS = 16
"""With more rows, widening a panel into memory costs less than once for each four of them."""
WIDENED_BYTES = 1 << 17
"""Workspace of a thread: a part of a panel, which stays in the second-level cache."""
_F = np.float32


@njit
def _store(c: Pointer, bias: Pointer, y: Pointer, column: int, count: int) -> None:
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


@kernel_factory
def packed_product(kind: str) -> Callable[..., int]:
    """Product with weights of a kind of `packed_weights`: u2, u4, u8, f16 or bf16.

    ``y`` (rows, columns), dense, is ``x`` (rows, depth), with rows ``x_row`` elements apart, times
    weights (depth, columns), plus a bias for each column (0: none). Scales (blocks, PANEL) of each
    panel belong to ``block`` rows each, or with a ``scale_step`` of 0 to all; so do ``zeros``, of
    uint8; where these are 0 the zero is ``zero``. Panels are split into parts.
    """
    each, step = rows_of_unit(kind), unit_bytes(kind)
    widen = make_widen(kind)

    @njit
    def few(
        count: int, x: Pointer, x_row: int, w: Pointer, scales: Pointer, zeros: Pointer,
        zero: float, scale_step: int, blocks: int, units: int, c: Pointer,
    ) -> None:  # fmt: skip
        if count == 4:
            packed_rows(kind, 4, x, x_row, w, scales, zeros, zero, scale_step, blocks, units, c)
        elif count == 2:
            packed_rows(kind, 2, x, x_row, w, scales, zeros, zero, scale_step, blocks, units, c)
        else:
            packed_rows(kind, 1, x, x_row, w, scales, zeros, zero, scale_step, blocks, units, c)

    @njit
    def multiply_few(
        count: int, x: Pointer, x_row: int, w: Pointer, scales: Pointer, zeros: Pointer,
        zero: float, scale_step: int, depth: int, block: int, c: Pointer, padded: Pointer,
    ) -> None:  # fmt: skip
        for i in range(count * VECTORS):
            vstore(c, i * LANES, splat(_F(0.0)))
        blocks = depth // block
        few(count, x, x_row, w, scales, zeros, zero, scale_step, blocks, block // each, c)
        units = (depth - blocks * block) // each
        last_scales = scales + blocks * scale_step * 4
        last_zeros = zeros + blocks * scale_step if zeros != 0 else 0
        w += blocks * (block // each) * step
        if units > 0:
            rest = x + blocks * block * 4
            few(count, rest, x_row, w, last_scales, last_zeros, zero, 0, 1, units, c)
        done = blocks * block + units * each
        if done < depth:
            # What is beyond the end of a row must not be read.
            for r in range(count):
                for i in range(each):
                    value = load_f32(x, r * x_row + done + i) if done + i < depth else _F(0.0)
                    store_f32(padded, r * each + i, value)
            w += units * step
            few(count, padded, each, w, last_scales, last_zeros, zero, 0, 1, 1, c)

    @njit
    def multiply_many(
        tiles: Pointer, words: Pointer, mr: int, room: Pointer, x: Pointer, w: Pointer,
        scales: Pointer, zeros: Pointer, zero: float, scale_step: int, depth: int, block: int,
        width: int, y: Pointer, rows: int,
    ) -> None:  # fmt: skip
        most = max(1, WIDENED_BYTES // (block * width * 4))
        k = 0
        while k < depth:
            until = min(depth, k + most * block)
            target = room
            for at in range(k, until, block):
                units = (min(block, until - at) + each - 1) // each
                index = at // block * scale_step
                own = zeros + index if zeros != 0 else 0
                source = w + at // each * step
                widen(source, scales + index * 4, own, zero, target, units, width // LANES)
                target += units * each * width * 4
            store_i64(words, TILE.length, until - k)
            flags = (FIRST if k == 0 else 0) | (LAST if until == depth else 0)
            store_i64(words, TILE.flags, flags)
            store_i64(words, TILE.b, room)
            store_i64(words, TILE.ahead, room)
            run_tiles(tiles, words, x + k * 4, y, 0, rows, 1, mr, 4)
            k = until

    def packed_product(
        thread: int,
        part: int,
        until: int,
        parts: int,
        x: Pointer,
        w: Pointer,
        scales: Pointer,
        zeros: Pointer,
        bias: Pointer,
        y: Pointer,
        rows: int,
        depth: int,
        columns: int,
        x_row: int,
        block: int,
        scale_step: int,
        zero: float,
        tile: Tiles,
        workspace: Pointer,
        workspace_bytes: int,
    ) -> int:
        words, padded = stack_words(TILE_WORDS), stack_words(64)
        sums = stack_words(256)
        panels = (columns + PANEL - 1) // PANEL
        of_panel = (depth + block - 1) // block * scale_step if scale_step != 0 else PANEL
        panel_bytes = (depth + each - 1) // each * step
        for i in range(TILE_WORDS):
            store_i64(words, i, 0)
        store_i64(words, TILE.s0, 1)
        store_i64(words, TILE.s1, 1)
        store_i64(words, TILE.lda, x_row)
        store_i64(words, TILE.ldc, columns)
        for panel in range(panels * part // parts, panels * until // parts):
            column = panel * PANEL
            count = min(PANEL, columns - column)
            source, own = w + panel * panel_bytes, scales + panel * of_panel * 4
            own_zeros = zeros + panel * of_panel if zeros != 0 else 0
            if rows > MOST_ROWS:
                is_full = count > PANEL - LANES
                width = PANEL if is_full else (count + LANES - 1) // LANES * LANES
                store_i64(words, TILE.bias, bias + column * 4 if bias != 0 else 0)
                store_i64(words, TILE.n, count)
                multiply_many(
                    tile.tiles if is_full else tile.tail_tiles, words, tile.mr,
                    workspace + thread * workspace_bytes, x, source, own, own_zeros, zero,
                    scale_step, depth, block, width, y + column * 4, rows,
                )  # fmt: skip
                continue
            row = 0
            while row < rows:
                several = 4 if rows - row >= 4 else (2 if rows - row >= 2 else 1)
                multiply_few(
                    several, x + row * x_row * 4, x_row, source, own, own_zeros, zero, scale_step,
                    depth, block, sums, padded,
                )  # fmt: skip
                for r in range(several):
                    at = y + (row + r) * columns * 4
                    _store(sums + r * PANEL * 4, bias, at, column, count)
                row += several
        return 0

    return packed_product
