"""Products of many rows with small weights: a panel is widened once, into a near cache.

Then tiles of float32 multiply all rows by it: few rows at a time would widen it again for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel_factory
from ..simd import splat, vload_i32
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY
from .packed_product import store_row
from .packed_weights import PANEL, VECTORS, rows_of_unit, unit_bytes
from .recurrent_products import product_with_panels
from .term_widen import make_widen_unit
from .weight_streams import make_head_at, make_places

_CHUNK = 64
"""Rows whose sums lie in the first-level cache until they are stored."""


def workspace_bytes(depth: int) -> int:
    """Bytes of a panel of so many rows, perhaps a word more, and of the sums of a chunk."""
    return (depth + 15 + _CHUNK) // 16 * 16 * PANEL * 4


def _widened(kind: str, form: str) -> Any:
    """Make what writes a panel (depth, PANEL) as float32."""
    each, widen_unit, step = rows_of_unit(kind), make_widen_unit(kind), unit_bytes(kind)
    load_zeros, load_scales = VECTOR_MEMORY["u8"][0], VECTOR_MEMORY[form][0]
    places, head_at = make_places(kind, form), make_head_at(form)

    @njit
    def widen(
        panel: Pointer, zeros: int, heads: int, zero: float, depth: int, block: int,
        target: Pointer,
    ) -> None:  # fmt: skip
        head, apart, _ = places(depth, block, zeros, heads)
        point = splat(np.float32(zero))
        for unit in range((depth + each - 1) // each):
            number = unit * each // block
            scales, points = head_at(panel, apart, heads, number)
            w = panel + head + number * apart + (unit - number * (block // each)) * step
            for v in range(VECTORS):
                words = vload_i32(w, v * LANES)
                factor = load_scales(scales, v * LANES)
                if zeros != 0:
                    point = load_zeros(points, v * LANES)
                widen_unit(words, point, factor, target, unit * each * PANEL + v * LANES, PANEL)

    return widen


@kernel_factory
def widened_product(kind: str, form: str = "f32") -> Callable[..., int]:
    """Product with weights of u2, u4 or u8; parameters and parts are those of `packed_product`.

    ``tiles`` are those of panels, of up to ``mr`` rows, and each thread has a workspace.
    """
    each, places = rows_of_unit(kind), make_places(kind, form)
    widen, product = _widened(kind, form), product_with_panels(VECTORS, "f32")

    def widened_product(
        thread: int, part: int, until: int, parts: int, x: Pointer, w: Pointer, zeros: int,
        heads: int, bias: Pointer, y: Pointer, rows: int, depth: int, columns: int, x_row: int,
        block: int, zero: float, mr: int, tiles: Pointer, workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        units = (depth + each - 1) // each
        weights = workspace + thread * workspace_bytes
        sums = weights + units * each * PANEL * 4
        panels = (columns + PANEL - 1) // PANEL
        panel_bytes = places(depth, block, zeros, heads)[2]
        for panel in range(panels * part // parts, panels * until // parts):
            column = panel * PANEL
            widen(w + panel * panel_bytes, zeros, heads, zero, depth, block, weights)
            for row in range(0, rows, _CHUNK):
                count = min(_CHUNK, rows - row)
                operand = x + row * x_row * 4, x_row
                product(operand, weights, sums, count, 1, depth, mr, tiles, 0, False)
                for r in range(count):
                    at = y + (row + r) * columns * 4
                    store_row(sums + r * PANEL * 4, bias, at, column, min(PANEL, columns - column))
        return 0

    return widened_product
