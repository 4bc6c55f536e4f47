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
from ..vector_memory import VECTOR_MEMORY
from .finish import COLUMNS
from .packed_weights import BITS, PANEL, rows_of_unit, unit_bytes
from .rows import zero_floats
from .weight_streams import make_head_at, make_places

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
    places, head_at = make_places(kind, form), make_head_at(form)

    def body(
        thread: int, part: int, until: int, parts: int, w: Pointer, zeros: int, heads: int,
        y: Pointer, first: int, rows: int, left: int, columns: int, depth: int, block: int,
        zero: float,
    ) -> int:  # fmt: skip
        panels = (columns + COLUMNS - 1) // COLUMNS
        blocks = (rows + BLOCK - 1) // BLOCK
        head, apart, panel_bytes = places(depth, block, zeros, heads)
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
                    number = unit // block
                    place = head + number * apart + (unit - number * block) // each * step
                    for j in range(0, width, LANES):
                        column = left + begin + j
                        panel, within = w + column // PANEL * panel_bytes, column % PANEL
                        scales, points = head_at(panel, apart, heads, number)
                        if zeros != 0:
                            point = load_zeros(points, within)
                        words = vload_i32(panel + place, within)
                        factor = load_scales(scales, within)
                        widen(words, point, factor, floats, at + j, width)
                split(floats, target, BLOCK, width)
                target += BLOCK * width * 2 * terms
        return 0

    return body
