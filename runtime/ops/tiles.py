"""Tiles of a convolution or product: their sizes, and the tables of addresses that kernels take."""

from __future__ import annotations

import math
from typing import Any

from ...kernels import amx
from ...kernels.amx_permission import EMULATED, has_amx
from ...kernels.arithmetic import HAS_QUADS
from ...kernels.cpu import amx_tile, packing
from ...kernels.cpu.operands import max_rows, operand_form
from ...kernels.cpu.sum_stores import ENDINGS
from ...kernels.cpu.tile import tile
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES
from ...kernels.unit_rates import (
    tile_bfloat16_speed,
    tile_integer_speed,
    vector_bfloat16_speed,
)
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
    pixels = conv.row_pixels
    width = pixels if isinstance(pixels, int) and pixels else None  # of no pixels there is no step
    by_amx = amx_sizes(conv)
    if by_amx is not None:
        mr, nv = by_amx
    elif isinstance(out_channels, int):
        mr, nv = chosen or rank_tiles_of(conv)[0]
    else:
        mr, nv = max_rows(2, conv.kind), 2
    if width is None or all_rows:
        rows = set(range(1, mr + 1))
    elif conv.is_flat:
        row = packing.flat_width(width, mr)
        rows = packing.tile_rows(row, mr) | packing.tile_rows((width - 1) % row + 1, mr)
    else:
        rows = packing.tile_rows(width, mr)
    kind, ending = conv.kind, conv.epilogue.ending
    return tile_fields(mr, nv, out_channels, rows, kind, ending, by_amx is not None)


def rank_tiles_of(conv: Convolution) -> tuple[tuple[int, int], ...]:
    """List (rows, vectors) of tiles of a direct convolution by cost."""
    width, depth, stride = conv.row_pixels, conv.sum_length, conv.x.strides[-1]
    columns = conv.out_channels
    assert isinstance(columns, int)
    known = stride * conv.window.columns.stride * conv.itemsize if isinstance(stride, int) else None
    sizes = (conv.y.shape[0], *conv.y.shape[2:])
    pixels = math.prod(size for size in sizes if isinstance(size, int))
    rows = max(pixels // width, 1) if isinstance(width, int) and width else 1
    return packing.rank_tiles(
        width if isinstance(width, int) and width else None,
        columns * (conv.itemsize // 4),
        depth if isinstance(depth, int) else _LONG_SUM,
        known,
        conv.kind,
        rows,
    )


def amx_sizes(conv: Convolution) -> tuple[int, int] | None:
    """Rows and vectors of a convolution's tiles if AMX multiplies them, else None."""
    pixels, columns = conv.row_pixels, conv.out_channels
    if conv.kind not in amx.PRODUCTS or not has_amx() or not isinstance(columns, int):
        return None
    is_few = isinstance(pixels, int) and pixels * _speed(conv.kind) <= amx_tile.MOST_ROWS
    if _have_vectors(conv.kind) and (is_few or _is_shallow(conv)):
        return None
    return amx_tile.MOST_ROWS, min(amx_tile.MOST_VECTORS, -(-columns // LANES))


def _have_vectors(kind: str) -> bool:
    """Tell whether vectors multiply numbers of a kind, too, and fast."""
    return (kind == "u8" and HAS_QUADS) or (kind == "bf16" and vector_bfloat16_speed() > 1.0)


def _speed(kind: str) -> float:
    """Return how many times as fast as vectors full tiles are; those of few rows take as long."""
    if kind == "u8":
        return tile_integer_speed()
    return tile_bfloat16_speed() / max(vector_bfloat16_speed(), 1.0)


def _is_shallow(conv: Convolution) -> bool:
    """Tell whether vectors compute sums of bytes faster, which have so few words."""
    window, channels = conv.window, conv.channels
    if conv.kind != "u8" or not isinstance(channels, int) or EMULATED:
        return False
    together = window.columns.taps if window.columns.dilation == 1 else 1
    segments, length = window.taps // together, channels * together
    steps = machine_costs().tile_stores + segments * -(-length // amx.ROW_WORDS)
    return steps * amx.ROW_WORDS > segments * length * tile_integer_speed()


def tile_fields(
    mr: int, nv: int, out_channels: Dim, rows: set[int], kind: str = "f32",
    ending: str = ENDINGS[0], by_amx: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Fields for tiles of ``nv`` vectors and up to ``mr`` rows, of which only ``rows`` occur.

    ``out_channels`` are counted in elements of 4 bytes.

    There is a table of addresses by row count for full panels of output channels, and one for the
    last panel. Its tiles may have more rows in registers, but are cut like the others.
    """
    # With two vectors there is one kind of narrower tail: it serves any number of channels.
    vectors = -(-out_channels // LANES) if isinstance(out_channels, int) else 1
    tail = vectors % nv or nv
    make = amx_table if by_amx else tile_table
    table = make(nv, rows, kind, ending)
    tail_table = table if tail == nv else make(tail, rows, kind, ending)
    streams = machine_costs().streams
    return {
        "mr": mr, "nv": nv, "tiles": table, "tail_tiles": tail_table,
        "panel_bytes": packing.panel_bytes(mr, nv), "latency": round(streams.latency),
        "bytes_ahead": streams.bytes_under_way(),
    }  # fmt: skip


def tile_table(nv: int, rows: set[int], kind: str = "f32", ending: str = ENDINGS[0]) -> Record:
    """Addresses of the tiles for row counts 0..max, those that occur only."""
    form, counts = operand_form(kind), range(max_rows(nv, kind) + 1)
    return Record([tile(r, nv, kind, form, ending) if r in rows else 0 for r in counts])


def amx_table(nv: int, rows: set[int], kind: str, ending: str) -> Record:
    """Address of AMX's tile as `tile_table`: it is the same for all row counts."""
    own = amx_tile.amx_tile(nv, kind, ending)
    return Record([own if count in rows else 0 for count in range(amx_tile.MOST_ROWS + 1)])
