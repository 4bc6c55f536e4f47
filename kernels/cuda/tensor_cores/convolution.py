"""Convolutions as products by `mma.sync`: an implicit matrix, channels last, any number of groups.

A row of the implicit matrix A is a pixel of the result, its columns are the taps of the window and
in each the channels; it is never written anywhere: pieces of 16 bytes are copied from where they
lie in the image, or become zero where the window is beyond it. B are the filters, a column each
with taps and channels in that order. See Chetlur et al. 2014 (cuDNN), section 3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import (
    block_x,
    block_y,
    block_z,
    copy_piece,
    load,
    quotient,
    shared_start,
    store,
    synchronize,
    thread_index,
)
from ..ptx import DeviceFunction, device
from .epilogue import RESULT_BYTES, Epilogue, store_tile
from .ring import ring_product
from .swizzle import PIECE, PIECES, ROW
from .tile_copies import copy_rows
from .tiles import Tile

PARAMETERS = (
    *("x", "w", "y", "bias", "images", "height", "width", "channels", "filters"),
    *("out_height", "out_width", "kernel_height", "kernel_width", "stride_y", "stride_x"),
    *("dilation_y", "dilation_x", "pad_y", "pad_x", "x_pixel", "y_pixel"),
)
"""What the kernel takes: addresses, sizes (of channels and filters those of a group), the window,
and bytes from pixel to pixel. All are int64. Channels take a multiple of 16 bytes."""

_ROW_WORDS = 16
_OUTSIDE = -(1 << 30)


def shared_bytes(tile: Tile) -> int:
    """Return the shared memory of a block: that of a product, and words for each pixel."""
    return tile.shared_bytes + tile.m * _ROW_WORDS


def _copy_taps(tile: Tile) -> DeviceFunction:
    """Return the function that copies a stage of the implicit matrix."""
    step = tile.threads // PIECES
    count, size, k_columns, of_piece = tile.m // step, tile.size, tile.k, PIECE // tile.size
    row_words = load("shared", "i32", 4)

    @device
    def copy(thread: Any, to: Any, rows: Any, stage: Any, x: Any, image: Any, window: Any) -> None:
        height, width, channels, pixel = image
        kernel_width, taps, dilation_y, dilation_x = window
        row, piece = thread >> 3, thread & 7
        place = to + row * 128 + ((piece ^ (row & 7)) << 4)
        column = stage * k_columns + piece * of_piece
        tap = quotient(column, channels)
        tap_y = quotient(tap, kernel_width)
        offset_y, offset_x = tap_y * dilation_y, (tap - tap_y * kernel_width) * dilation_x
        first = x + (column - tap * channels) * size
        for i in range(count):
            words = row_words(rows + (row + i * step) * 16)
            at_y, at_x = words[1] + offset_y, words[2] + offset_x
            if tap < taps and at_y >= 0 and at_y < height and at_x >= 0 and at_x < width:
                source = first + (words[0] + at_y * width + at_x) * pixel
                copy_piece(place + i * step * 128, source, 16)
            else:
                copy_piece(place + i * step * 128, x, 0)

    return copy


@functools.cache
def convolution(tile: Tile, epilogue: Epilogue) -> Callable[..., None]:
    """Return the kernel of a tile: a grid of blocks along pixels, filters and groups."""
    tile_rows, columns, k_columns, size = tile.m, tile.n, tile.k, tile.size
    a_bytes, threads, table = tile_rows * ROW, tile.threads, tile.shared_bytes
    result_bytes, bias_bytes = RESULT_BYTES[tile.result], epilogue.column_bytes
    copy_taps, copy_filters = _copy_taps(tile), copy_rows(columns, threads, size, True)
    put_words = store("shared", "i32", 4)

    @device
    def fill(thread: Any, to: Any, stage: Any, operands: Any) -> None:
        x, w, rows, column, filters, depth = operands[0:6]
        image, window = operands[6:10], operands[10:14]
        copy_taps(thread, to, rows, stage, x, image, window)
        copy_filters(thread, to + a_bytes, w, column, filters, depth, stage * 128, depth)

    multiply = ring_product(tile, fill)
    finish = store_tile(
        tile_rows,
        columns,
        threads,
        tile.pitch,
        tile.result,
        tile.is_aligned,
        epilogue,
        tile.sum_kind,
    )

    def kernel(  # type: ignore[no-untyped-def]
        x, w, y, bias, images, height, width, channels, filters, out_height, out_width,
        kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x, pad_y, pad_x,
        x_pixel, y_pixel,
    ):  # fmt: skip
        thread, start = thread_index(), shared_start()
        row, column, group = block_x() * tile_rows, block_y() * columns, block_z()
        rows, pixels = start + table, images * out_height * out_width
        for i in range(thread, tile_rows, threads):
            line = quotient(row + i, out_width)
            image = quotient(line, out_height)
            at_y = (line - image * out_height) * stride_y - pad_y
            at_x = (row + i - line * out_width) * stride_x - pad_x
            at_y = at_y if row + i < pixels else _OUTSIDE
            put_words(rows + i * 16, (image * height * width, at_y, at_x, 0))
        synchronize()
        taps = kernel_height * kernel_width
        depth = taps * channels * size
        matrix_x, matrix_w = x + group * channels * size, w + group * filters * depth
        operands = (
            matrix_x, matrix_w, rows, column, filters, depth,
            height, width, channels, x_pixel,
            kernel_width, taps, dilation_y, dilation_x,
        )  # fmt: skip
        multiply(thread, start, (taps * channels + k_columns - 1) // k_columns, operands)
        to, mine = y + group * filters * result_bytes, bias + group * filters * bias_bytes
        finish(thread, start, to, row, column, pixels, filters, y_pixel, mine)

    return kernel
