"""Windows over images as rows of an implicit matrix, for whatever multiplies it.

A row of the matrix is a pixel of the result, its columns are the taps of the window and in each the
channels. Where the window of a pixel begins lies in shared memory, behind the stages, so that it is
computed once for all stages. See Chetlur et al. 2014 (cuDNN), section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..basic import (
    block_x,
    block_y,
    block_z,
    load,
    quotient,
    shared_start,
    store,
    synchronize,
    thread_index,
)
from ..kernel import Fields, Launch
from ..ptx import DeviceFunction, device
from .epilogue import RESULT_BYTES, Epilogue, operand_places
from .tiles import FloatTile, Tile

PARAMETERS = (
    *("x", "w", "y", "bias", "operands", "pad", "images", "height", "width", "channels", "filters"),
    *("out_height", "out_width", "kernel_height", "kernel_width", "stride_y", "stride_x"),
    *("dilation_y", "dilation_x", "pad_y", "pad_x", "x_pixel", "y_pixel", "groups"),
    "status",
)
"""What kernels of convolutions take: addresses (``pad``: 16 bytes that lie beyond the image, of
bytes only; else null), sizes (of channels and filters those of a group),
the window, bytes from pixel to pixel, and the number of groups. Nothing that they read is an index,
so that there is nothing to report in the step's status word."""

PIXEL_WORDS = 16
"""Bytes in shared memory for each row."""
_OUTSIDE = -(1 << 30)

pixel_words = load("shared", "i32", 4)
"""Load a row's words: pixels before its image, and the first row and column of its window."""
_put_words = store("shared", "i32", 4)


def shared_bytes(tile: Tile | FloatTile) -> int:
    """Return the shared memory of a block: that of a product, and words for each pixel."""
    return tile.shared_bytes + tile.m * PIXEL_WORDS


@device
def tap_of(column: Any, channels: Any, window: Any) -> Any:
    """Return the tap of a column, the rows and columns that it is off by, and the channel."""
    kernel_width, _, dilation_y, dilation_x = window
    tap = quotient(column, channels)
    tap_y = quotient(tap, kernel_width)
    across = (tap - tap_y * kernel_width) * dilation_x
    return tap, tap_y * dilation_y, across, column - tap * channels


def launch_of(tile: Tile | FloatTile, fields: Fields) -> Launch:
    """Return the launch of a block for each tile of pixels (x) and filters (y), and group (z)."""
    pixels = fields["images"] * fields["out_height"] * fields["out_width"]
    grid = (-(-pixels // tile.m), -(-fields["filters"] // tile.n), fields["groups"])
    return Launch((0, 1, 1) if 0 in grid else grid, (tile.threads, 1, 1))


def window_kernel(
    tile: Tile | FloatTile, multiply: DeviceFunction, finish: DeviceFunction, epilogue: Epilogue
) -> Callable[..., None]:
    """Return the kernel of a tile: a grid of blocks along pixels, filters and groups.

    Parameters
    ----------
    multiply : DeviceFunction
        That of `ring.ring_product`. The tuple that it hands on has x, w, the address of the rows'
        words, the first column (filter), filters, bytes of a filter; height, width, channels and
        bytes of a pixel of x; width of the window, taps, dilations; what is copied instead of
        pixels beyond the image, and how many bytes.
    finish : DeviceFunction
        That of `epilogue.store_tile`.
    """
    rows, columns, k_columns, size = tile.m, tile.n, tile.k, tile.size
    threads, table = tile.threads, tile.shared_bytes
    result_bytes, bias_bytes = RESULT_BYTES[tile.result], epilogue.column_bytes
    begin = operand_places(epilogue)

    def kernel(  # type: ignore[no-untyped-def]
        x, w, y, bias, operands, pad, images, height, width, channels, filters, out_height,
        out_width, kernel_height, kernel_width, stride_y, stride_x, dilation_y, dilation_x,
        pad_y, pad_x, x_pixel, y_pixel, groups, status,
    ):  # fmt: skip
        thread, start = thread_index(), shared_start()
        row, column, group = block_x() * rows, block_y() * columns, block_z()
        words, pixels = start + table, images * out_height * out_width
        for i in range(thread, rows, threads):
            line = quotient(row + i, out_width)
            image = quotient(line, out_height)
            at_y = (line - image * out_height) * stride_y - pad_y
            at_x = (row + i - line * out_width) * stride_x - pad_x
            at_y = at_y if row + i < pixels else _OUTSIDE
            _put_words(words + i * 16, (image * height * width, at_y, at_x, 0))
        synchronize()
        taps = kernel_height * kernel_width
        depth = taps * channels * size
        given = (
            x + group * channels * size, w + group * filters * depth, words, column, filters, depth,
            height, width, channels, x_pixel,
            kernel_width, taps, dilation_y, dilation_x,
            pad if pad != 0 else x, 16 if pad != 0 else 0,
        )  # fmt: skip
        multiply(thread, start, (taps * channels + k_columns - 1) // k_columns, given)
        to, mine = y + group * filters * result_bytes, bias + group * filters * bias_bytes
        own = begin(operands, group, 0)
        finish(thread, start, to, row, column, pixels, filters, y_pixel, mine, own)

    return kernel
