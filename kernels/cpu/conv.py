"""Convolutions and matrix products: the loops around the tile.

Everything is channels last. One driver serves k x k, 1 x 1, grouped, strided and dilated
convolutions and (as 1 x 1 convolutions over one long row) matrix products. Weights come packed
in panels (``packing``). Where there is padding or there are groups, the rows needed are first
copied, padded, to a workspace of the thread, so that the tile never meets a border; the copy
is small beside the arithmetic and leaves the rows in cache.

Of volumes every slice of the result is a sum of convolutions of images: one for each tap of the
window along the third axis that meets a slice of the input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..fields import Depth, Epilogue, ResidualStrides, Scaled, Sizes, Strides, Tiles, Window
from ..registry import SHARES, Pointer, kernel
from ..simd import load_f32, stack_words, store_f64, store_i64
from ..target import L2_BYTES, LANES
from .packing import flat_width, padded_channels
from .panel import EPILOGUE_WORDS, reduction_blocks, run_epilogue, run_panel
from .rows import copy_rows
from .scaled_words import store_bytes, store_channels
from .sum_stores import LAST, SCALED
from .tile import TILE, TILE_WORDS
from .window import taps_inside

# Input rows that the loops over panels should find in the second-level cache, in bytes.
ROWS_BYTES = L2_BYTES * 5 // 8
_flat_width = njit(flat_width)


@njit
def rows_limit(weight_bytes: int) -> Any:
    """Bytes of input rows for which all weights are read once.

    Weights that fit no cache cost more than rows that come from the third level.
    """
    return ROWS_BYTES if weight_bytes <= 2 * L2_BYTES else 4 * ROWS_BYTES


_padded_channels = njit(padded_channels)


@kernel
def convolve(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    w: Pointer,
    bias: Pointer,
    y: Pointer,
    residual: Pointer,
    sizes: Sizes,
    channels: int,
    out_channels: int,
    groups: int,
    window: Window,
    depth: Depth,
    padded: int,
    pad: Pointer,
    strides: Strides,
    residual_strides: ResidualStrides,
    w_image: int,
    tile: Tiles,
    itemsize: int,
    workspace: Pointer,
    workspace_bytes: int,
    after: Epilogue,
    scaled: Scaled,
    may_flatten: int,
) -> int:
    """Convolve channels-last images or volumes of elements of 4 or 8 bytes, as the tiles are.

    ``channels`` and ``out_channels`` are those of one group; ``w_image`` are elements from one
    image's packed weights to the next (0: shared). ``padded`` is 1 when some padding of rows or
    columns is not zero, which is of the word at ``pad`` (0: zeros). ``may_flatten`` is 0 when an
    operand of the epilogue differs by row.

    Rows of all slices, or panels of output channels, are split into parts, whichever divides
    better. For a 1 x 1 convolution without stride a slice is one row of height * width pixels.
    """
    if scaled.halves != 0:
        # As `sum_stores` has it: what distances are counted in is then four bytes everywhere.
        y, residual = y << 1, residual << 1
    height, out_height, out_width = sizes.height, sizes.out_height, sizes.out_width
    x_row, y_row, r_row = strides.x_row, strides.y_row, residual_strides.r_row
    words, block = stack_words(TILE_WORDS), stack_words(EPILOGUE_WORDS)
    lanes, words_each = LANES * 4 // itemsize, itemsize // 4
    panel = tile.nv * lanes
    panels = (out_channels + panel - 1) // panel
    tap_steps = window.kernel_h * window.kernel_w * channels
    steps = depth.kernel_d * tap_steps
    plain = (
        padded == 0
        and window.kernel_h == 1
        and window.kernel_w == 1
        and window.stride_h == 1
        and window.stride_w == 1
    )
    flat = plain and may_flatten != 0
    if (
        flat
        and x_row == sizes.width * strides.x_pixel
        and y_row == out_width * strides.y_pixel
        and (residual == 0 or r_row == out_width * residual_strides.r_pixel)
    ):
        # One long row, cut into short ones so that there are parts to share.
        total = out_height * out_width
        out_width = _flat_width(total, tile.mr) if total > 0 else 0
        out_height = (total + out_width - 1) // out_width if total > 0 else 0
        x_row, y_row, r_row = (
            out_width * strides.x_pixel,
            out_width * strides.y_pixel,
            out_width * residual_strides.r_pixel,
        )
        height = out_height
        last_width = total - (out_height - 1) * out_width
    else:
        flat = False
        last_width = out_width
    slices = sizes.images * depth.out_slices
    if slices * out_height * out_width * out_channels == 0:
        return 0
    copied = padded != 0 or (groups > 1 and window.kernel_w > 1)
    fill = load_f32(pad, 0) if pad != 0 else np.float32(0.0)

    # Parts: rows (over all slices) or panels (over all groups).
    rows, row_first, row_last = slices * out_height, 0, slices * out_height
    all_panels = groups * panels
    panel_first, panel_last = 0, all_panels
    row_cost = (rows + SHARES - 1) // SHARES * all_panels
    panel_cost = (all_panels + SHARES - 1) // SHARES * rows
    weights_dominate = steps * out_channels * groups > rows * out_width * channels * groups
    # Panels of a pixel may share lines of memory, which threads then take from each other: they
    # are parts where rows differ much, not where one of many rows is left over.
    if panel_cost + panel_cost // 8 < row_cost or (panel_cost <= row_cost and weights_dominate):
        panel_first = all_panels * part // parts
        panel_last = all_panels * until // parts
    else:
        row_first, row_last = rows * part // parts, rows * until // parts

    most = rows_limit(steps * out_channels * itemsize) // depth.kernel_d
    padded_width = (out_width - 1) * window.stride_w + (window.kernel_w - 1) * window.dilation_w + 1
    reach = (window.kernel_h - 1) * window.dilation_h + 1
    if copied:
        row_bytes = padded_width * channels * itemsize
        limit = min(most, workspace_bytes // depth.kernel_d) // row_bytes
        chunk = max(1, (limit - reach) // window.stride_h + 1)
        local = workspace + thread * workspace_bytes
    else:
        used = min(window.stride_w, window.kernel_w) * min(window.stride_h, window.kernel_h)
        chunk = max(1, most // max(1, out_width * channels * itemsize * used))
        local = 0
    if after.epilogue != 0 and steps * out_channels * groups * itemsize <= ROWS_BYTES:
        # The results are read again: they should still be in cache, if weights leave room.
        chunk = min(chunk, max(1, ROWS_BYTES // (out_width * out_channels * groups * itemsize)))

    # The reduction: segments (s0, s1) of length, in blocks whose panel stays in cache.
    if window.dilation_w == 1 and (strides.x_pixel == channels or copied or window.kernel_w == 1):
        segments0, segments1, length = window.kernel_h, 1, window.kernel_w * channels
    else:
        segments0, segments1, length = window.kernel_h, window.kernel_w, channels
    row_tiles = (out_width + tile.mr - 1) // tile.mr
    tiles_here = min(chunk, rows) * row_tiles
    block0, block_length = reduction_blocks(
        segments0, segments1, length, panel, tiles_here, itemsize, tile.panel_bytes
    )
    if scaled.halves != 0:
        block0, block_length = segments0, length

    ends = LAST
    store_f64(words, TILE.low, after.low)
    store_f64(words, TILE.high, after.high)
    if scaled.target != 0:
        store_bytes(words, TILE, scaled, y)
    if scaled.scales != 0:
        ends = LAST | SCALED
    store_i64(words, TILE.activation, after.activation)
    store_i64(words, TILE.ldc, strides.y_pixel)
    store_i64(words, TILE.row_c, y_row)
    store_i64(words, TILE.ldr, residual_strides.r_pixel)
    store_i64(words, TILE.row_r, r_row)

    if panel_first == panel_last:
        return 0
    row = row_first
    while row < row_last:
        image, d, h0 = (
            row // out_height // depth.out_slices,
            row // out_height % depth.out_slices,
            row % out_height,
        )
        front = d * depth.stride_d - depth.pad_front
        first, last = taps_inside(front, depth.kernel_d, depth.dilation_d, depth.slices)
        x_slices = x + (image * strides.x_image + front * depth.x_slice) * itemsize
        apart = depth.dilation_d * depth.x_slice * itemsize
        h1 = min(out_height, h0 + min(chunk, row_last - row))
        full_rows = h1 - h0 - (1 if last_width < out_width and h1 == out_height else 0)
        group_copied = -1
        for index in range(panel_first, panel_last):
            group, p = index // panels, index % panels
            columns = min(panel, out_channels - p * panel)
            a0 = x_slices + group * channels * itemsize + first * apart
            if copied:
                # Rows of all taps' slices, one slice after the other.
                copied_rows = (h1 - h0 - 1) * window.stride_h + reach
                a_row, a_pixel = padded_width * channels, channels
                a_tap = copied_rows * a_row * itemsize
                if group != group_copied:
                    top = h0 * window.stride_h - window.pad_top
                    for tap in range(last - first):
                        copy_rows(
                            a0 + tap * apart, local + tap * a_tap, top, top + copied_rows, height,
                            sizes.width, padded_width, window.pad_left, channels * words_each,
                            x_row * words_each, strides.x_pixel * words_each, fill,
                        )  # fmt: skip
                    group_copied = group
                a0 = local
            else:
                a0 += h0 * window.stride_h * x_row * itemsize
                a_row, a_pixel, a_tap = x_row, strides.x_pixel, apart
            column = group * out_channels + p * panel
            table, width_of_panel = (
                (tile.tiles, panel)
                if columns > panel - lanes
                else (tile.tail_tiles, (columns + lanes - 1) // lanes * lanes)
            )
            packed = (
                w
                + (image * w_image + group * steps * _padded_channels(out_channels, panel, lanes))
                * itemsize
            )
            packed += p * panel * steps * itemsize
            store_i64(words, TILE.bias, bias + column * itemsize if bias != 0 else 0)
            store_channels(words, TILE, scaled, column * itemsize)
            store_i64(words, TILE.lda, window.stride_w * a_pixel)
            store_i64(words, TILE.row_a, window.stride_h * a_row)
            store_i64(words, TILE.sa0, a_row * window.dilation_h)
            store_i64(words, TILE.s1, segments1)
            store_i64(words, TILE.sa1, window.dilation_w * a_pixel)
            store_i64(words, TILE.n, columns)
            c = y + (image * strides.y_image + d * depth.y_slice + h0 * y_row + column) * itemsize
            r = residual + (image * residual_strides.r_image + d * depth.r_slice) * itemsize
            r += (h0 * r_row + column) * itemsize
            if residual == 0:
                r = 0
            tap_bytes = tap_steps * width_of_panel * itemsize
            # Where no tap meets a slice there is still the bias.
            for tap in range(first, max(last, first + 1)):
                run_panel(
                    table, words, width_of_panel, packed + tap * tap_bytes,
                    a0 + (tap - first) * a_tap, c, r, out_width, full_rows,
                    last_width if full_rows < h1 - h0 else 0, tile.mr, segments0,
                    length if last > first else 0, block0, block_length, tap == first,
                    ends if tap >= last - 1 else 0, itemsize, tile.panel_bytes,
                    tile.latency if not copied and index == panel_first else 0, tile.bytes_ahead,
                )  # fmt: skip
        if after.epilogue != 0:
            group, p = panel_first // panels, panel_first % panels
            column = group * out_channels + p * panel
            group, p = (panel_last - 1) // panels, (panel_last - 1) % panels
            end = group * out_channels + min(out_channels, (p + 1) * panel)
            # Pixels of one long row are one call, however it is cut.
            at_once = h1 - h0 if flat else 1
            for h in range(h0, h1, at_once):
                pixels = (at_once - 1) * out_width
                pixels += last_width if h + at_once == out_height else out_width
                run_epilogue(
                    after, block, image, 0 if flat else h, h * out_width if flat else 0, pixels,
                    column, end - column,
                )  # fmt: skip
        row += h1 - h0
    return 0


def workspace_bytes(
    padded_width: Any, channels: Any, itemsize: int, reach: int, kernel_d: int, weight_bytes: int
) -> Any:
    """Bytes of workspace for each thread: at least the rows of one output row."""
    row = padded_width * channels * itemsize
    return row * reach * kernel_d + rows_limit.py_func(weight_bytes)
