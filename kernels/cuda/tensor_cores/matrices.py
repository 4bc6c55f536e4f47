"""Matrices as operands of products, for whatever multiplies them."""

from __future__ import annotations

from collections.abc import Callable

from ..basic import block_x, block_y, block_z, shared_start, thread_index
from ..ptx import DeviceFunction
from .tiles import FloatTile, Tile

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


def matrix_kernel(
    tile: Tile | FloatTile, multiply: DeviceFunction, finish: DeviceFunction
) -> Callable[..., None]:
    """Return the kernel of a tile: a grid of blocks along m, n and the batch, see `PARAMETERS`.

    Parameters
    ----------
    multiply : DeviceFunction
        That of `ring.ring`. The tuple that it hands on has a, b, the first row and column, m, n, k,
        and bytes from row to row of both.
    finish : DeviceFunction
        That of `epilogue.store_tile`.
    """
    rows, columns, k_columns = tile.m, tile.n, tile.k

    def kernel(a, b, c, bias, m, n, k, a_pitch, b_pitch, c_pitch, a_batch, b_batch, c_batch):  # type: ignore[no-untyped-def]
        thread, start = thread_index(), shared_start()
        row, column, batch = block_x() * rows, block_y() * columns, block_z()
        matrix_a, matrix_b = a + batch * a_batch, b + batch * b_batch
        count = (k + k_columns - 1) // k_columns
        operands = (matrix_a, matrix_b, row, column, m, n, k, a_pitch, b_pitch)
        multiply(thread, start, count, operands)
        finish(thread, start, c + batch * c_batch, row, column, m, n, c_pitch, bias)

    return kernel
