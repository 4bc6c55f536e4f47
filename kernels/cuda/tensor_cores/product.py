"""Products of matrices by `mma.sync`: compute capability 8.0 and up.

Each block computes a tile of C; tiles of A and B come through a ring of stages (`ring`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..ptx import DeviceFunction, device
from .epilogue import Epilogue, operand_places, store_tile
from .matrices import matrix_kernel
from .ring import ring_product
from .swizzle import ROW
from .tile_copies import copy_rows
from .tiles import Tile


def copy_of_b(tile: Tile) -> DeviceFunction:
    """Return the function that copies a tile of B, whose rows are columns of B or rows."""
    size, k_rows, panel, threads = tile.size, tile.k, ROW // tile.size, tile.threads
    panels, panel_bytes = tile.n // panel, tile.k * ROW
    copy_columns = copy_rows(tile.n, threads, size, tile.is_aligned)

    @device
    def copy_nk(
        thread: Any, to: Any, b: Any, stage: Any, column: Any, k: Any, n: Any, pitch: Any
    ) -> None:
        copy_columns(thread, to, b, column, n, pitch, stage * 128, k * size)

    if tile.b_order == "nk":
        return copy_nk
    copy_panel = copy_rows(tile.k, threads, size, tile.is_aligned)

    @device
    def copy_kn(
        thread: Any, to: Any, b: Any, stage: Any, column: Any, k: Any, n: Any, pitch: Any
    ) -> None:
        for i in range(panels):
            first = (column + i * panel) * size
            copy_panel(thread, to + i * panel_bytes, b, stage * k_rows, k, pitch, first, n * size)

    return copy_kn


@functools.cache
def product(tile: Tile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile: a grid of blocks along m, n and the batch."""
    rows, columns, size = tile.m, tile.n, tile.size
    a_bytes = rows * ROW
    copy_a, copy_b = copy_rows(rows, tile.threads, size, tile.is_aligned), copy_of_b(tile)

    @device
    def fill(thread: Any, to: Any, stage: Any, operands: Any) -> None:
        a, b, row, column, m, n, k, a_pitch, b_pitch = operands
        copy_a(thread, to, a, row, m, a_pitch, stage * 128, k * size)
        copy_b(thread, to + a_bytes, b, stage, column, k, n, b_pitch)

    multiply = ring_product(tile, fill)
    finish = store_tile(
        rows,
        columns,
        tile.threads,
        tile.pitch,
        tile.result,
        tile.is_aligned,
        epilogue,
        tile.sum_kind,
    )
    return matrix_kernel(tile, multiply, finish, operand_places(epilogue))
