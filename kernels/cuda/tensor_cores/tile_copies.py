"""Copies of tiles from global to shared memory, rows of 128 bytes in pieces of 16 (`swizzle`).

What lies beyond the last row or the end of a row becomes zero. With aligned rows a piece is one
asynchronous copy (cp.async), else its elements are loaded one by one.
"""

from __future__ import annotations

import functools
from typing import Any

from ..basic import copy_piece, load, store
from ..ptx import DeviceFunction, device
from .swizzle import PIECES, ROW

_MEMORY = {1: "u8", 2: "bits16", 4: "bits32"}


@functools.cache
def copy_rows(rows: int, threads: int, size: int, is_aligned: bool) -> DeviceFunction:
    """Return the function by which a block copies a tile.

    Its arguments are the thread, the tile's place, the address of the matrix, the first row of the
    tile and the rows of the matrix, bytes from row to row, and in each row the first byte of the
    tile and the bytes of the matrix.

    Parameters
    ----------
    rows, threads : int
        Of the tile and of the block; each thread copies the same piece of every
        ``threads // 8``-th row.
    size : int
        Bytes of an element.
    """
    step = threads // PIECES
    assert step % 8 == 0 and rows % step == 0, (rows, threads)
    count, step_bytes = rows // step, step * ROW
    elements, memory = 16 // size, _MEMORY[size]
    fetch, put = load("global", memory), store("shared", memory)

    @device
    def copy(
        thread: Any, to: Any, matrix: Any, first: Any, rows: Any, pitch: Any, start: Any, limit: Any
    ) -> None:
        row, piece = thread >> 3, thread & 7
        place = to + row * 128 + ((piece ^ (row & 7)) << 4)
        at = start + piece * 16
        row = row + first
        source = matrix + row * pitch + at
        inside = min(max(limit - at, 0), 16)
        for i in range(count):
            here = inside if row + i * step < rows else 0
            if here > 0:
                copy_piece(place + i * step_bytes, source + i * step * pitch, here)
            else:
                copy_piece(place + i * step_bytes, matrix, 0)

    @device
    def copy_elements(
        thread: Any, to: Any, matrix: Any, first: Any, rows: Any, pitch: Any, start: Any, limit: Any
    ) -> None:
        row, piece = thread >> 3, thread & 7
        place = to + row * 128 + ((piece ^ (row & 7)) << 4)
        at = start + piece * 16
        row = row + first
        source = matrix + row * pitch + at
        for i in range(count):
            for j in range(elements):
                value = 0
                if row + i * step < rows and at + j * size < limit:
                    value = fetch(source + i * step * pitch + j * size)
                put(place + i * step_bytes + j * size, value)

    return copy if is_aligned else copy_elements
