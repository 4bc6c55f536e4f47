"""Which tiles a product or convolution needs: fields of the drivers."""

from __future__ import annotations

from typing import Any

from ...kernels.cpu import packing
from ...kernels.cpu.tile import max_rows, tile
from ...kernels.target import LANES
from ..symbolic import Dim
from ..tensors import Record

# Stands for the length of a sum that depends on the input's shape.
_LONG_SUM = 1024


def tile_table(nv: int, rows: set[int]) -> Record:
    """Addresses of the tiles for row counts 0..max, those that occur only."""
    return Record([tile(r, nv) if r in rows else 0 for r in range(max_rows(nv) + 1)])


def tiles_for(
    width: Dim, flat: bool, out_channels: Dim, depth: Dim, chosen: tuple[int, int] | None = None,
    all_rows: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Choose the tile for rows of ``width`` pixels and sums of ``depth``; fields of the driver.

    Rows and vectors of the tile are those ``chosen``, or else the cheapest. With ``all_rows`` the
    tables serve any number of pixels.
    """
    known = width if isinstance(width, int) else None
    if isinstance(out_channels, int):
        mr, nv = chosen or packing.choose_tile(
            known, out_channels, depth if isinstance(depth, int) else _LONG_SUM
        )
        vectors = -(-out_channels // LANES)
        tail = vectors % nv or nv
    else:
        # With two vectors there is one kind of tail.
        mr, nv, tail = max_rows(2), 2, 1
    if known is None or all_rows:
        rows = set(range(1, mr + 1))
    elif flat:
        row = packing.flat_width(known, mr)
        rows = packing.tile_rows(row, mr) | packing.tile_rows((known - 1) % row + 1, mr)
    else:
        rows = packing.tile_rows(known, mr)
    # The tail's tiles may have more rows in registers, but are cut like the full panels'.
    table = tile_table(nv, rows)
    tail_table = table if tail == nv else tile_table(tail, rows)
    return {"mr": mr, "nv": nv, "tiles": table, "tail_tiles": tail_table}
