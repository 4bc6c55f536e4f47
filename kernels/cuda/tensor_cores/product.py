"""Products of matrices by `mma.sync`: compute capability 8.0 and up.

Each block computes a tile of C. Tiles of A and B come through a ring of stages in shared memory
(cp.async, PTX ISA 9.7.9.25.3): copies of the next stages run while tensor cores work on one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import (
    block_x,
    block_y,
    block_z,
    commit_copies,
    shared_start,
    synchronize,
    thread_index,
    wait_copies,
    zeros,
)
from ..ptx import DeviceFunction, device
from .epilogue import Epilogue, store_tile
from .swizzle import ROW
from .tile_copies import copy_rows
from .tiles import Tile
from .warp_product import lane_places, stage_product, sums_to_shared

PARAMETERS = (
    "a",
    "b",
    "c",
    "bias",
    "m",
    "n",
    "k",
    "a_pitch",
    "b_pitch",
    "c_pitch",
    "a_batch",
    "b_batch",
    "c_batch",
)
"""What the kernel takes: addresses, sizes in elements, and bytes from row to row and from matrix to
matrix. All are int64."""


def copy_b(tile: Tile) -> DeviceFunction:
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
    """Return the kernel of a tile: a grid of blocks along m, n and the batch, see `PARAMETERS`."""
    rows, columns, stage_bytes = tile.m, tile.n, tile.stage_bytes
    size, k_columns, ahead = tile.size, tile.k, tile.stages - 1
    a_bytes = rows * ROW
    multiply, keep, zero = (
        stage_product(tile),
        sums_to_shared(tile),
        zeros(tile.sum_kind, tile.accumulators),
    )
    place_in_a, place_in_b, place_in_sums = lane_places(tile)
    copy_a = copy_rows(rows, tile.threads, size, tile.is_aligned)
    copy_b_tile = copy_b(tile)
    wait_stage, wait_all = wait_copies(ahead - 1), wait_copies(0)
    finish = store_tile(
        rows, columns, tile.threads, tile.pitch, tile.result, tile.is_aligned, epilogue
    )

    def kernel(a, b, c, bias, m, n, k, a_pitch, b_pitch, c_pitch, a_batch, b_batch, c_batch):  # type: ignore[no-untyped-def]
        thread, start = thread_index(), shared_start()
        row, column, batch = block_x() * rows, block_y() * columns, block_z()
        matrix_a, matrix_b = a + batch * a_batch, b + batch * b_batch
        count = (k + k_columns - 1) // k_columns
        for stage in range(ahead):
            to = start + stage * stage_bytes
            if stage < count:
                copy_a(thread, to, matrix_a, row, m, a_pitch, stage * 128, k * size)
                copy_b_tile(thread, to + a_bytes, matrix_b, stage, column, k, n, b_pitch)
            commit_copies()
        place_a, place_b = start + place_in_a(thread), start + a_bytes + place_in_b(thread)
        sums = zero()
        used, filled = 0, ahead * stage_bytes
        for stage in range(count):
            wait_stage()
            synchronize()
            if stage + ahead < count:
                to, later = start + filled, stage + ahead
                copy_a(thread, to, matrix_a, row, m, a_pitch, later * 128, k * size)
                copy_b_tile(thread, to + a_bytes, matrix_b, later, column, k, n, b_pitch)
            commit_copies()
            sums = multiply(sums, place_a + used, place_b + used)
            used = 0 if used == ahead * stage_bytes else used + stage_bytes
            filled = 0 if filled == ahead * stage_bytes else filled + stage_bytes
        wait_all()
        synchronize()
        keep(sums, start + place_in_sums(thread))
        synchronize()
        finish(thread, start, c + batch * c_batch, row, column, m, n, c_pitch, bias)

    return kernel
