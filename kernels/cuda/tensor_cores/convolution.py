"""Convolutions as products by `mma.sync`: an implicit matrix (`windows`), channels last.

Pieces of 16 bytes are copied from where they lie in the image, or become zero where the window is
beyond it, so that channels (of a group) have to take a multiple of 16 bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import copy_piece
from ..ptx import DeviceFunction, device
from .epilogue import Epilogue, store_tile
from .ring import ring_product
from .swizzle import PIECE, PIECES, ROW
from .tile_copies import copy_rows
from .tiles import Tile
from .windows import pixel_words, tap_of, window_kernel


def _copy_taps(tile: Tile) -> DeviceFunction:
    """Return the function that copies a stage of the implicit matrix."""
    step = tile.threads // PIECES
    count, size, k_columns, of_piece = tile.m // step, tile.size, tile.k, PIECE // tile.size

    @device
    def copy(
        thread: Any, to: Any, words: Any, stage: Any, x: Any, image: Any, window: Any, pad: Any
    ) -> None:
        height, width, channels, pixel = image
        row, piece = thread >> 3, thread & 7
        place = to + row * 128 + ((piece ^ (row & 7)) << 4)
        tap, down, across, channel = tap_of(stage * k_columns + piece * of_piece, channels, window)
        first = x + channel * size
        for i in range(count):
            mine = pixel_words(words + (row + i * step) * 16)
            at_y, at_x = mine[1] + down, mine[2] + across
            if tap < window[1] and at_y >= 0 and at_y < height and at_x >= 0 and at_x < width:
                source = first + (mine[0] + at_y * width + at_x) * pixel
                copy_piece(place + i * step * 128, source, 16)
            else:
                copy_piece(place + i * step * 128, pad[0], pad[1])

    return copy


@functools.cache
def convolution(tile: Tile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile; it takes `windows.PARAMETERS`."""
    a_bytes, threads = tile.m * ROW, tile.threads
    copy_taps, copy_filters = _copy_taps(tile), copy_rows(tile.n, threads, tile.size, True)

    @device
    def fill(thread: Any, to: Any, stage: Any, operands: Any) -> None:
        x, w, words, column, filters, depth = operands[0:6]
        copy_taps(thread, to, words, stage, x, operands[6:10], operands[10:14], operands[14:16])
        copy_filters(thread, to + a_bytes, w, column, filters, depth, stage * 128, depth)

    finish = store_tile(
        tile.m,
        tile.n,
        threads,
        tile.pitch,
        tile.result,
        tile.is_aligned,
        epilogue,
        tile.sum_kind,
    )
    return window_kernel(tile, ring_product(tile, fill), finish, epilogue)
