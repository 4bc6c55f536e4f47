"""Tiles of a convolution or product: their sizes, and the tables of addresses that kernels take."""

from __future__ import annotations

from typing import Any

from ...kernels.cpu import packing
from ...kernels.cpu.operands import max_rows, operand_form
from ...kernels.cpu.tile import tile
from ...kernels.target import LANES
from ..symbolic import Dim
from ..tensors import Record
from .convolution import Convolution

# Stands for the length of a sum that depends on the input's shape.
_LONG_SUM = 1024


def tiles_for(conv: Convolution, chosen: tuple[int, int] | None, all_rows: bool) -> dict[str, Any]:
    """Choose the tile of a direct convolution; fields of the driver.

    Rows and vectors of the tile are those ``chosen``, or else the cheapest. With ``all_rows`` the
    tables serve any number of pixels.
    """
    # Vectors of larger elements are as many as float32 would need for more channels.
    out_channels = conv.out_channels * (conv.itemsize // 4)
    pixels, depth = conv.row_pixels, conv.sum_length
    width = pixels if isinstance(pixels, int) and pixels else None  # of no pixels there is no step
    if isinstance(out_channels, int):
        mr, nv = chosen or packing.choose_tile(
            width, out_channels, depth if isinstance(depth, int) else _LONG_SUM
        )
    else:
        mr, nv = max_rows(2), 2
    if width is None or all_rows:
        rows = set(range(1, mr + 1))
    elif conv.is_flat:
        row = packing.flat_width(width, mr)
        rows = packing.tile_rows(row, mr) | packing.tile_rows((width - 1) % row + 1, mr)
    else:
        rows = packing.tile_rows(width, mr)
    return tile_fields(mr, nv, out_channels, rows, conv.kind)


def tile_fields(
    mr: int, nv: int, out_channels: Dim, rows: set[int], kind: str = "f32"
) -> dict[str, Any]:
    """Fields for tiles of ``nv`` vectors and up to ``mr`` rows, of which only ``rows`` occur.

    ``out_channels`` are counted in elements of 4 bytes.

    There is a table of addresses by row count for full panels of output channels, and one for the
    last panel. Its tiles may have more rows in registers, but are cut like the others.
    """
    # With two vectors there is one kind of narrower tail: it serves any number of channels.
    vectors = -(-out_channels // LANES) if isinstance(out_channels, int) else 1
    tail = vectors % nv or nv
    table = tile_table(nv, rows, kind)
    tail_table = table if tail == nv else tile_table(tail, rows, kind)
    return {"mr": mr, "nv": nv, "tiles": table, "tail_tiles": tail_table}


def tile_table(nv: int, rows: set[int], kind: str = "f32") -> Record:
    """Addresses of the tiles for row counts 0..max, those that occur only."""
    form = operand_form()
    return Record([tile(r, nv, kind, form) if r in rows else 0 for r in range(max_rows(nv) + 1)])
