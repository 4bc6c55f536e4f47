"""Matrices as operands of products, for whatever multiplies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..basic import block_x, block_y, quotient, shared_start, thread_index
from ..kernel import Fields, Launch
from ..ptx import DeviceFunction, device
from .tiles import FloatTile, Tile

PARAMETERS = (
    *("a", "b", "c", "bias", "operands", "m", "n", "k", "outer", "inner"),
    *("a_row", "b_row", "c_row", "a_outer", "a_inner", "b_outer", "b_inner", "c_outer", "c_inner"),
    "status",
)
"""What kernels of products take: addresses (``operands``: that of the epilogue's record), sizes in
elements, the numbers of matrices along two axes, and bytes from row to row and along these. Nothing
that they read is an index, so that there is nothing to report in the step's status word."""


@device
def matrix_of(block: Any, tiles: Any, inner: Any) -> Any:
    """Return a block's tile of rows and its matrix: places along the outer and the inner axis."""
    matrix = quotient(block, tiles)
    outer = quotient(matrix, inner)
    return block - matrix * tiles, outer, matrix - outer * inner


def launch_of(tile: Tile | FloatTile, fields: Fields) -> Launch:
    """Return the launch of a block for each tile: of rows and matrices (x), of columns (y)."""
    rows, columns = (-(-fields[name] // size) for name, size in (("m", tile.m), ("n", tile.n)))
    grid = (rows * fields["outer"] * fields["inner"], columns, 1)
    return Launch((0, 1, 1) if 0 in grid else grid, (tile.threads, 1, 1))


def matrix_kernel(
    tile: Tile | FloatTile, multiply: DeviceFunction, finish: DeviceFunction, begin: DeviceFunction
) -> Callable[..., None]:
    """Return the kernel of a tile, see `PARAMETERS` and `launch_of`.

    Parameters
    ----------
    multiply : DeviceFunction
        That of `ring.ring`. The tuple that it hands on has a, b, the first row and column, m, n, k,
        and bytes from row to row of both.
    finish, begin : DeviceFunction
        Those of `epilogue.store_tile` and `epilogue.operand_places`.
    """
    rows, columns, k_columns = tile.m, tile.n, tile.k

    def kernel(  # type: ignore[no-untyped-def]
        a, b, c, bias, operands, m, n, k, outer, inner, a_row, b_row, c_row, a_outer, a_inner,
        b_outer, b_inner, c_outer, c_inner, status,
    ):  # fmt: skip
        thread, start = thread_index(), shared_start()
        place = matrix_of(block_x(), (m + (rows - 1)) // rows, inner)
        row, column = place[0] * rows, block_y() * columns
        matrix_a = a + place[1] * a_outer + place[2] * a_inner
        matrix_b = b + place[1] * b_outer + place[2] * b_inner
        count = (k + k_columns - 1) // k_columns
        multiply(thread, start, count, (matrix_a, matrix_b, row, column, m, n, k, a_row, b_row))
        to, own = c + place[1] * c_outer + place[2] * c_inner, begin(operands, place[1], place[2])
        finish(thread, start, to, row, column, m, n, c_row, bias, own)

    return kernel
