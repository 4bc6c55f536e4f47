"""Launches: how the elements, rows or tiles of a step are spread over blocks and threads."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .kernel import Fields, Launch, Limits
from .memory import IS_SIMULATED

SCRATCHES = 128
"""Blocks of a step whose blocks have memory of their own."""
LEAST_COLUMNS = 3 if IS_SIMULATED else 16
"""Neighbouring results from which on a block has some of them."""
_FEW = 1024
"""Elements of a row that a warp shares; a block shares more."""
_MANY = 1 << 14
"""Rows that keep a GPU busy with a thread for each."""


def _power(count: int, most: int) -> int:
    """Return the power of two that is not below a number, at most the largest one."""
    return min(1 << max(count - 1, 0).bit_length(), most)


def over_elements(count: int, limits: Limits) -> Launch:
    """One thread for each element, in a row of blocks; threads of a cut grid do several."""
    blocks = -(-count // limits.threads)
    return Launch((min(blocks, limits.blocks), 1, 1), (limits.threads, 1, 1))


def over_rows(rows: int, columns: int, limits: Limits) -> Launch:
    """Threads along columns (x) and, where these are few, along rows (y) of a block."""
    if rows == 0 or columns == 0:
        return Launch((0, 1, 1), (1, 1, 1))
    across = _power(columns, limits.threads)
    down = max(limits.threads // across, 1)
    grid = min(-(-columns // across), limits.blocks), min(-(-rows // down), limits.blocks), 1
    return Launch(grid, (across, down, 1))


def over_sums(rows: int, count: int, limits: Limits, apart: int = 1) -> Launch:
    """Threads of a block that share the ``count`` elements of a row (x), and its rows (y).

    Elements of a row that are neighbours are read by neighbouring threads, a few by each. Else rows
    are taken to be neighbours, and have one thread each if there are many or they are short.
    """
    across = limits.threads
    if apart == 1 and count <= _FEW:
        across = _power(-(-count // 4), 32)
    elif apart != 1 and (count <= 32 or rows >= _MANY):
        across = 1
    elif apart != 1 and count <= _FEW:
        across = 8
    across = min(across, limits.threads)
    down = max(limits.threads // across, 1)
    return Launch((min(-(-rows // down), limits.blocks), 1, 1), (across, down, 1))


def over_reduction(fields: Fields, limits: Limits) -> Launch:
    """Return the launch of a record that keeps axes of sizes ``k*`` and reduces those of ``r*``.

    It is `over_sums`, or where it is the kept elements that are neighbours a block for 32 of them.
    """
    kept, reduced = (math.prod(fields[f"{name}{axis}"] for axis in range(4)) for name in "kr")
    if are_columns(fields["xk3"], fields["xr3"], fields["k3"], reduced):
        across = min(limits.threads // 2, 32)
        down = limits.threads // across
        return Launch((min(-(-kept // across), limits.blocks), 1, 1), (across, down, 1))
    return over_sums(kept, reduced, limits, fields["xr3"])


def are_columns(kept_apart: Any, reduced_apart: Any, kept: Any, reduced: Any) -> Any:
    """Tell whether neighbouring elements go to different results, which threads (x) then have."""
    return kept_apart == 1 and reduced_apart != 1 and kept >= LEAST_COLUMNS and reduced >= 8


def over_plane_tiles(planes: int, rows: int, columns: int, edge: int, limits: Limits) -> Launch:
    """Give square tiles of planes a block each; their edge is the number of threads along x."""
    across = edge
    while across * 2 > limits.threads:
        across //= 2
    tiles = planes * -(-rows // across) * -(-columns // across)
    down = max(limits.threads // across, 1)
    return Launch((min(tiles, limits.blocks), 1, 1), (across, down, 1))


def over_tiles(tiles: int, threads: int, limits: Limits) -> Launch:
    """Give each tile a block of so many threads."""
    return Launch((min(tiles, limits.blocks), 1, 1), (threads, 1, 1))


def over_scratches(items: int, limits: Limits) -> Launch:
    """Give each item a block, as many as there is memory for at a time."""
    return over_tiles(min(items, SCRATCHES), limits.threads, limits)


def elements_of(*names: str) -> Callable[[Fields, Limits], Launch]:
    """Return the launch of a thread for each element, whose number is a product of fields."""

    def launch(fields: Fields, limits: Limits) -> Launch:
        count = 1
        for name in names:
            count *= fields[name]
        return over_elements(count, limits)

    return launch
