"""Products of rows of bytes (`byte_blocks`) with weights of at most 8 bits (`byte_rows`).

Weights are widened to bytes in registers, so those of a panel stay in a near cache for all rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from ..registry import Pointer, kernel_factory
from ..simd import splat, vstore
from ..target import LANES
from .byte_blocks import TAIL_BYTES
from .byte_rows import byte_rows
from .packed_product import panel_loop
from .packed_weights import VECTORS, rows_of_unit
from .weight_streams import make_head_at

_F0 = np.float32(0.0)


@kernel_factory
def byte_product(
    kind: str, form: str = "f32", every: int = 1, terms: int = 1
) -> Callable[..., int]:
    """Product with weights of u2, u4 or u8 (`packed_weights.in_quads`).

    ``y`` (rows, columns), dense, is ``x``, rows of blocks of ``block`` bytes, times weights (depth,
    columns), plus a bias for each column (0: none). Weights are those of `packed_product`. Panels
    are split into parts. ``every`` is that of `byte_rows`; with two ``terms`` a row of ``x`` is two
    (`byte_blocks`).
    """
    each, head_at = rows_of_unit(kind), make_head_at(form)

    @njit
    def few(
        count: int, x: Pointer, x_row: int, w: Pointer, scales: Pointer, zeros: Pointer, zero: int,
        apart: int, gap: int, block: int, blocks: int, units: int, c: Pointer, ahead: Pointer,
        ahead_step: int, ahead_gap: int,
    ) -> None:  # fmt: skip
        if count == 4:
            byte_rows(kind, form, 4, every, terms, x, x_row, w, scales, zeros, zero, apart, gap,
                      block, TAIL_BYTES, blocks, units, c, ahead, ahead_step,
                      ahead_gap)  # fmt: skip
        elif count == 2:
            byte_rows(kind, form, 2, every, terms, x, x_row, w, scales, zeros, zero, apart, gap,
                      block, TAIL_BYTES, blocks, units, c, ahead, ahead_step,
                      ahead_gap)  # fmt: skip
        elif terms == 1:
            byte_rows(kind, form, 1, every, terms, x, x_row, w, scales, zeros, zero, apart, gap,
                      block, TAIL_BYTES, blocks, units, c, ahead, ahead_step,
                      ahead_gap)  # fmt: skip

    @njit
    def multiply_few(
        count: int, x: Pointer, x_row: int, panel: Pointer, head: int, apart: int, zeros: int,
        heads: int, zero: int, depth: int, block: int, c: Pointer, padded: Pointer,
        ahead: Pointer, ahead_step: int, ahead_gap: int,
    ) -> None:  # fmt: skip
        for i in range(count * VECTORS):
            vstore(c, i * LANES, splat(_F0))
        blocks, w = depth // block, panel + head
        scales, points = head_at(panel, apart, heads, 0)
        between, gap = (apart, head) if heads != 0 else (0, 0)
        few(count, x, x_row, w, scales, points if zeros != 0 else 0, zero, between, gap, block,
            blocks, block // each, c, ahead, ahead_step, ahead_gap)  # fmt: skip
        units = (depth - blocks * block + each - 1) // each
        if units > 0:
            scales, points = head_at(panel, apart, heads, blocks)
            ahead += blocks * (block // each * ahead_step + ahead_gap)
            few(count, x + blocks * (block + TAIL_BYTES), x_row, w + blocks * apart, scales,
                points if zeros != 0 else 0, zero, 0, 0, block, 1, units, c, ahead, ahead_step,
                0)  # fmt: skip

    loop = panel_loop(kind, form, multiply_few, terms=terms)

    def byte_product(
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
        block: int,
        zero: int,
        distance: int,
    ) -> int:
        x_row = (depth + block - 1) // block * (block + TAIL_BYTES)
        loop(
            part, until, parts, x, x_row, x_row, w, zeros, heads, zero, bias, y, rows, depth,
            columns, block, distance,
        )  # fmt: skip
        return 0

    return byte_product
