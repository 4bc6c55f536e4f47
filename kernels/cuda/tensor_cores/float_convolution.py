"""Convolutions of float32 by multiply-adds: an implicit matrix (`windows`), channels last.

Any number of channels: elements are copied one by one, as `float_product` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import copy_element
from ..ptx import DeviceFunction, device
from .epilogue import Epilogue, store_tile
from .float_product import copy_transposed, float_ring
from .tiles import FloatTile
from .windows import pixel_words, tap_of, window_kernel


def _copy_taps(tile: FloatTile) -> DeviceFunction:
    """Return the function that copies a stage of the implicit matrix, to a row for each column."""
    k_columns, row_bytes = tile.k, tile.row_a
    step = tile.threads // k_columns
    count = tile.m // step

    @device
    def copy(thread: Any, to: Any, words: Any, stage: Any, x: Any, image: Any, window: Any) -> None:
        height, width, channels, pixel = image
        row, column = thread >> 3, thread & 7
        place = to + column * row_bytes + row * 4
        tap, down, across, channel = tap_of(stage * k_columns + column, channels, window)
        first = x + channel * 4
        for i in range(count):
            mine = pixel_words(words + (row + i * step) * 16)
            at_y, at_x = mine[1] + down, mine[2] + across
            if tap < window[1] and at_y >= 0 and at_y < height and at_x >= 0 and at_x < width:
                source = first + (mine[0] + at_y * width + at_x) * pixel
                copy_element(place + i * step * 4, source, 4)
            else:
                copy_element(place + i * step * 4, x, 0)

    return copy


@functools.cache
def float_convolution(tile: FloatTile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile; it takes `windows.PARAMETERS`."""
    a_bytes, k_columns = tile.k * tile.row_a, tile.k
    copy_taps = _copy_taps(tile)
    copy_filters = copy_transposed(tile.n, tile.threads, tile.row_b)

    @device
    def fill(thread: Any, to: Any, stage: Any, operands: Any) -> None:
        x, w, words, column, filters, depth = operands[0:6]
        copy_taps(thread, to, words, stage, x, operands[6:10], operands[10:14])
        copy_filters(thread, to + a_bytes, w, column, filters, depth, stage * k_columns, depth >> 2)

    finish = store_tile(
        tile.m, tile.n, tile.threads, tile.pitch, tile.result, tile.is_aligned, epilogue
    )
    return window_kernel(tile, float_ring(tile, fill), finish, epilogue)
