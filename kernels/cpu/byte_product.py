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
from ..vector_memory import ITEM_BYTES
from .byte_blocks import TAIL_BYTES
from .byte_rows import byte_rows
from .packed_product import panel_loop
from .packed_weights import VECTORS, rows_of_unit, unit_bytes

_F0 = np.float32(0.0)


@kernel_factory
def byte_product(kind: str, form: str = "f32", every: int = 1) -> Callable[..., int]:
    """Product with weights of u2, u4 or u8 (`packed_weights.in_quads`).

    ``y`` (rows, columns), dense, is ``x``, rows of blocks of ``block`` bytes, times weights (depth,
    columns), plus a bias for each column (0: none). Scales and zeros are those of `packed_product`.
    Panels are split into parts. ``every`` is that of `byte_rows`.
    """
    each, step, scale_bytes = rows_of_unit(kind), unit_bytes(kind), ITEM_BYTES[form]

    @njit
    def few(
        count: int, x: Pointer, x_row: int, w: Pointer, scales: Pointer, zeros: Pointer, zero: int,
        scale_step: int, block: int, blocks: int, units: int, c: Pointer,
        ahead: Pointer, ahead_step: int,
    ) -> None:  # fmt: skip
        if count == 4:
            byte_rows(kind, form, 4, every, x, x_row, w, scales, zeros, zero, scale_step, block,
                      TAIL_BYTES, blocks, units, c, ahead, ahead_step)  # fmt: skip
        elif count == 2:
            byte_rows(kind, form, 2, every, x, x_row, w, scales, zeros, zero, scale_step, block,
                      TAIL_BYTES, blocks, units, c, ahead, ahead_step)  # fmt: skip
        else:
            byte_rows(kind, form, 1, every, x, x_row, w, scales, zeros, zero, scale_step, block,
                      TAIL_BYTES, blocks, units, c, ahead, ahead_step)  # fmt: skip

    @njit
    def multiply_few(
        count: int, x: Pointer, x_row: int, w: Pointer, scales: Pointer, zeros: Pointer, zero: int,
        scale_step: int, depth: int, block: int, c: Pointer, padded: Pointer,
        ahead: Pointer, ahead_step: int,
    ) -> None:  # fmt: skip
        for i in range(count * VECTORS):
            vstore(c, i * LANES, splat(_F0))
        blocks = depth // block
        few(count, x, x_row, w, scales, zeros, zero, scale_step, block, blocks, block // each, c,
            ahead, ahead_step)  # fmt: skip
        units = (depth - blocks * block + each - 1) // each
        if units > 0:
            rest = w + blocks * (block // each) * step
            last_scales = scales + blocks * scale_step * scale_bytes
            last_zeros = zeros + blocks * scale_step if zeros != 0 else 0
            few(count, x + blocks * (block + TAIL_BYTES), x_row, rest, last_scales, last_zeros,
                zero, 0, block, 1, units, c, ahead + blocks * (block // each) * ahead_step,
                ahead_step)  # fmt: skip

    loop = panel_loop(kind, form, multiply_few)

    def byte_product(
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
        block: int,
        scale_step: int,
        zero: int,
    ) -> int:
        x_row = (depth + block - 1) // block * (block + TAIL_BYTES)
        loop(
            part, until, parts, x, x_row, x_row, w, scales, zeros, zero, bias, y, rows, depth,
            columns, block, scale_step,
        )  # fmt: skip
        return 0

    return byte_product
