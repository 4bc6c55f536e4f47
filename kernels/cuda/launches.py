"""Launches: how the elements, rows or tiles of a step are spread over blocks and threads."""

from __future__ import annotations

import math
from collections.abc import Callable

from .kernel import Fields, Launch, Limits

SCRATCHES = 128
"""Blocks of a step whose blocks have memory of their own."""


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


def over_sums(rows: int, count: int, limits: Limits) -> Launch:
    """Threads of a block that share the ``count`` elements of a row (x), and its rows (y).

    Rows of up to a warp's elements have one thread each; those of more a warp or a whole block.
    """
    across = limits.threads
    if count <= 1024:
        across = 1 if count <= 32 else min(32, limits.threads)
    down = max(limits.threads // across, 1)
    return Launch((min(-(-rows // down), limits.blocks), 1, 1), (across, down, 1))


def over_reduction(fields: Fields, limits: Limits) -> Launch:
    """`over_sums` of a record that keeps axes of sizes ``k*`` and reduces those of sizes ``r*``."""
    kept, reduced = (math.prod(fields[f"{name}{axis}"] for axis in range(4)) for name in "kr")
    return over_sums(kept, reduced, limits)


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
