"""Small weights (`packed_weights`) as bfloat16 terms, in panels as `term_pack` packs matrices.

A product of many rows has a part of its weights widened so, into a near cache, before AMX
multiplies them; in memory they stay small.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..bfloat_terms import BLOCK, make_split_columns
from ..registry import Pointer, kernel_factory
from ..scratch import scratch
from ..simd import splat, splat_i32, to_f32, vload_i32, vstore
from ..target import LANES
from ..vector_memory import ITEM_BYTES, VECTOR_MEMORY
from .finish import COLUMNS
from .packed_weights import BITS, PANEL, rows_of_unit, unit_bytes
from .rows import zero_floats

_BLOCK_WORDS = BLOCK * COLUMNS // 2


def make_widen_unit(kind: str) -> Callable[..., None]:
    """Return what writes the rows of a unit, a vector of columns, ``width`` elements apart."""
    bits, each = BITS[kind], rows_of_unit(kind)
    mask = np.int32((1 << bits) - 1)

    @njit(forceinline=True)
    def widen(words: Any, point: Any, factor: Any, target: Pointer, at: int, width: int) -> None:
        for i in range(each):
            number = (words >> splat_i32(np.int32(bits * i))) & splat_i32(mask)
            vstore(target, at + i * width, (to_f32(number) - point) * factor)

    return widen


@kernel_factory
def term_widen(kind: str, form: str, terms: int) -> Callable[..., int]:
    """Build the packing of u2, u4 or u8 as so many terms of what they stand for.

    They are ``rows`` rows from ``first`` on, a multiple of `BLOCK`, and ``columns`` columns from
    ``left`` on, a multiple of `COLUMNS`, of weights (``depth``, any number of columns). The other
    fields are those of `packed_product`. Panels are split into parts.
    """
    each, step = rows_of_unit(kind), unit_bytes(kind)
    widen, split = make_widen_unit(kind), make_split_columns(terms)
    load_zeros, load_scales = VECTOR_MEMORY["u8"][0], VECTOR_MEMORY[form][0]
    scale_bytes = ITEM_BYTES[form]

    def body(
        thread: int, part: int, until: int, parts: int, w: Pointer, scales: Pointer,
        zeros: Pointer, y: Pointer, first: int, rows: int, left: int, columns: int, depth: int,
        block: int, scale_step: int, zero: float,
    ) -> int:  # fmt: skip
        panels = (columns + COLUMNS - 1) // COLUMNS
        blocks = (rows + BLOCK - 1) // BLOCK
        panel_bytes = (depth + each - 1) // each * step
        of_panel = (depth + block - 1) // block * scale_step if scale_step != 0 else PANEL
        point = splat(np.float32(zero))
        floats = scratch(_BLOCK_WORDS)
        for index in range(panels * part // parts, panels * until // parts):
            begin = index * COLUMNS
            width = COLUMNS if columns - begin > COLUMNS // 2 else COLUMNS // 2
            target = y + begin * blocks * BLOCK * 2 * terms
            for row in range(first, first + blocks * BLOCK, BLOCK):
                for unit in range(row, row + BLOCK, each):
                    at = (unit - row) * width
                    if unit >= depth:
                        zero_floats(floats + at * 4, each * width)
                        continue
                    place = unit // block * scale_step
                    for j in range(0, width, LANES):
                        column = left + begin + j
                        panel, within = column // PANEL, column % PANEL
                        own = panel * of_panel + place
                        if zeros != 0:
                            point = load_zeros(zeros + own, within)
                        words = vload_i32(w + panel * panel_bytes + unit // each * step, within)
                        factor = load_scales(scales + own * scale_bytes, within)
                        widen(words, point, factor, floats, at + j, width)
                split(floats, target, BLOCK, width)
                target += BLOCK * width * 2 * terms
        return 0

    return body
