"""Products of a joined layer: inputs and states multiply their own parts of each panel in turn.

Both are read where they lie, unless sequences are at different steps of the input: rows of one
tile are equally far apart.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..arithmetic import ARITHMETIC
from ..registry import Pointer
from ..simd import stack_words, store_i64
from ..target import LANES
from .recurrent_products import float_operand, run_rows, set_words
from .recurrent_steps import time_of
from .rows import copy_floats
from .tile import FIRST, LAST, TILE, TILE_WORDS


def joined_operand(lanes: int, itemsize: int) -> tuple[Any, Any]:
    """Make the functions of `recurrent_products.byte_operand` for a joined layer.

    The operand is that of `joined_product`.
    """

    @njit
    def input_row(layer: Any, d: int, b: int, t: int) -> Any:
        time, _ = time_of(layer, d, b, t)
        return layer.x + (time * layer.x_step + b * layer.x_batch) * itemsize

    @njit
    def operand(
        layer: Any, state: Pointer, d: int, b: int, t: int, rows: int, scratch: Pointer,
        is_new: bool,
    ) -> Any:  # fmt: skip
        x, ldx = input_row(layer, d, b, t), layer.x_batch
        if layer.lengths != 0:
            x, ldx = scratch + layer.states, layer.features
            if is_new:
                for i in range(rows):
                    source, target = input_row(layer, d, b + i, t), x + i * ldx * itemsize
                    copy_floats(source, target, layer.features * itemsize // 4)
        known = t == 0 and layer.starts_at_zero != 0
        return x, ldx, layer.features, state, layer.vectors * lanes, 0 if known else layer.size

    return operand, float_operand(lanes)[1]


def joined_product(nv: int, kind: str) -> Any:
    """Make `recurrent_products.product_with_panels` of inputs and states.

    The operand are the rows of inputs, their distance and their number of elements, then those of
    states (0 elements: they are zeros).
    """
    itemsize, panel_bytes = ARITHMETIC[kind].itemsize, nv * LANES * 4

    @njit
    def product(
        operand: Any, b: Pointer, sums: Pointer, rows: int, panels: int, length: int, mr: int,
        tiles: Pointer, falling: int, fetches: bool,
    ) -> None:  # fmt: skip
        x, ldx, features, state, lds, size = operand
        width = panel_bytes // itemsize
        words = stack_words(TILE_WORDS)
        following = set_words(
            words, panels * width, width, rows, length, mr, panel_bytes, falling, fetches
        )
        for i in range(panels):
            p = panels - 1 - i if falling else i
            panel, c = b + p * length * panel_bytes, sums + p * panel_bytes
            store_i64(words, TILE.ahead, panel + following)
            run_rows(words, tiles, x, ldx, panel, c, features, FIRST, rows, mr, itemsize)
            if size > 0:
                panel += features * panel_bytes
                run_rows(words, tiles, state, lds, panel, c, size, LAST, rows, mr, itemsize)

    return product
