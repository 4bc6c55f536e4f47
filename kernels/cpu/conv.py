"""Convolutions and matrix products: the loops around the tile.

Everything is channels last. One driver serves k x k, 1 x 1, grouped, strided and dilated
convolutions and (as 1 x 1 convolutions over one long row) matrix products. Weights come packed
in panels (``packing``). Where there is padding or there are groups, the rows needed are first
copied, padded, to a workspace of the thread, so that the tile never meets a border; the copy
is small beside the arithmetic and leaves the rows in cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    call_kernel,
    load_f32,
    load_i64,
    splat,
    stack_words,
    store_f32,
    store_f64,
    store_i64,
    vload,
    vstore,
)
from ..target import L1_BYTES, L2_BYTES, LANES
from . import tile as t
from .packing import flat_width
from .tile import FIRST, LAST, WORDS

# Input rows that the loops over panels should find in the second-level cache, and weights that
# the loops over tiles should find in the first, in bytes.
ROWS_BYTES = L2_BYTES * 5 // 8
PANEL_BYTES = L1_BYTES // 2
_F0 = np.float32(0.0)
_flat_width = njit(flat_width)


@njit
def copy_floats(source: Pointer, target: Pointer, count: int) -> None:
    """Copy contiguous float32."""
    i = 0
    while i + LANES <= count:
        vstore(target, i, vload(source, i))
        i += LANES
    while i < count:
        store_f32(target, i, load_f32(source, i))
        i += 1


@njit
def zero_floats(target: Pointer, count: int) -> None:
    """Set contiguous float32 to zero."""
    i = 0
    zero = splat(_F0)
    while i + LANES <= count:
        vstore(target, i, zero)
        i += LANES
    while i < count:
        store_f32(target, i, _F0)
        i += 1


@njit
def _copy_rows(
    x: Pointer,
    target: Pointer,
    first: int,
    last: int,
    height: int,
    width: int,
    padded_width: int,
    pad_left: int,
    channels: int,
    row: int,
    pixel: int,
) -> None:
    """Copy input rows first..last (may lie outside) with their padding, channels packed."""
    for h in range(first, last):
        out = target + (h - first) * padded_width * channels * 4
        if h < 0 or h >= height:
            zero_floats(out, padded_width * channels)
            continue
        zero_floats(out, pad_left * channels)
        inside = min(width, padded_width - pad_left)
        source = x + h * row * 4
        middle = out + pad_left * channels * 4
        if pixel == channels:
            copy_floats(source, middle, inside * channels)
        else:
            for w in range(inside):
                copy_floats(source + w * pixel * 4, middle + w * channels * 4, channels)
        after = padded_width - pad_left - inside
        zero_floats(middle + inside * channels * 4, after * channels)


@njit
def _run_tiles(
    tiles: Pointer, words: Pointer, a: Pointer, c: Pointer, residual: Pointer, width: int,
    rows: int, mr: int,
) -> None:  # fmt: skip
    """Run the tiles of rows, each split nearly evenly; ``words`` holds all other arguments."""
    pieces = (width + mr - 1) // mr
    size = width // pieces
    larger = width - size * pieces
    store_i64(words, t.ROWS, rows)
    for part in range(2):
        pixels, count = (size + 1, larger) if part == 0 else (size, pieces - larger)
        if count == 0:
            continue
        store_i64(words, t.A, a)
        store_i64(words, t.C, c)
        store_i64(words, t.RESIDUAL, residual)
        store_i64(words, t.COUNT, count)
        call_kernel(load_i64(tiles, pixels), words, 0, 1)
        lines = load_i64(words, t.AHEAD_LINES) * count * rows
        store_i64(words, t.AHEAD, load_i64(words, t.AHEAD) + 64 * lines)
        a += pixels * count * load_i64(words, t.LDA) * 4
        c += pixels * count * load_i64(words, t.LDC) * 4
        residual += pixels * count * load_i64(words, t.LDR) * 4


@njit
def run_epilogue(
    kernel_: Pointer,
    record: Pointer,
    words: Pointer,
    operands: int,
    image: int,
    row: int,
    pixel: int,
    width: int,
    column: int,
    columns: int,
) -> None:
    """Run a pointwise kernel on a finished block: width pixels by columns channels.

    The template's axes are (image, row, pixel, channel); every operand is shifted to the block.
    """
    for i in range(4 + 5 * (operands + 1)):
        store_i64(words, i, load_i64(record, i))
    store_i64(words, 0, 1)
    store_i64(words, 1, 1)
    store_i64(words, 2, width)
    store_i64(words, 3, columns)
    for operand in range(operands + 1):
        at = 4 + 5 * operand
        shift = image * load_i64(record, at + 1) + row * load_i64(record, at + 2)
        shift += pixel * load_i64(record, at + 3) + column * load_i64(record, at + 4)
        store_i64(words, at, load_i64(record, at) + shift * 4)
    call_kernel(kernel_, words, 0, 1)


@njit
def _reduction_blocks(
    segments0: int, segments1: int, length: int, panel: int, tiles: int
) -> Any:  # fmt: skip
    """How many segments, or elements of one, a tile takes at a time: its weights stay in L1.

    For ``tiles`` tiles; a few do not use the weights often enough to pay for the interruptions.
    """
    segment_bytes = max(1, segments1 * length * panel * 4)
    if tiles < 3 or segment_bytes * segments0 <= PANEL_BYTES * 3 // 2:
        return segments0, length
    if segment_bytes <= PANEL_BYTES * 3 // 2 or segments1 > 1:
        return max(1, PANEL_BYTES // segment_bytes), length
    pieces = (segment_bytes + PANEL_BYTES - 1) // PANEL_BYTES
    return 1, (length + pieces - 1) // pieces


@njit
def _lines_ahead(block_bytes: int, tiles: int) -> Any:
    """Cache lines of the next block that each tile prefetches: few tiles could not hide it."""
    return (block_bytes + 64 * tiles - 1) // (64 * tiles) if tiles > 4 else 0


@kernel
def convolve(
    thread: int,
    threads: int,
    x: Pointer,
    w: Pointer,
    bias: Pointer,
    y: Pointer,
    residual: Pointer,
    images: int,
    height: int,
    width: int,
    channels: int,
    out_height: int,
    out_width: int,
    out_channels: int,
    groups: int,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    dilation_h: int,
    dilation_w: int,
    pad_top: int,
    pad_left: int,
    padded: int,
    x_image: int,
    x_row: int,
    x_pixel: int,
    y_image: int,
    y_row: int,
    y_pixel: int,
    r_image: int,
    r_row: int,
    r_pixel: int,
    w_image: int,
    mr: int,
    nv: int,
    tiles: Pointer,
    tail_tiles: Pointer,
    activation: int,
    low: float,
    high: float,
    workspace: Pointer,
    workspace_bytes: int,
    epilogue: Pointer,
    epilogue_record: Pointer,
    epilogue_operands: int,
    may_flatten: int,
) -> int:
    """Convolve channels-last float32 images.

    ``channels`` and ``out_channels`` are those of one group. Strides in elements; ``r_*`` of the
    residual (0 when there is none); ``w_image`` from one image's packed weights to the next
    (0: shared). ``padded`` is 1 when some padding is not zero. ``tiles`` and ``tail_tiles`` are
    tables of tile addresses by row count, for full panels of ``nv`` vectors and for the last
    one. ``activation``, ``low`` and ``high`` as in ``tile``; ``epilogue`` is a pointwise kernel
    run over finished rows (0: none), with its record's template and operand count;
    ``may_flatten`` is 0 when one of its operands differs by row.

    Images x rows, or panels of output channels, are split over the threads, whichever divides
    better. For a 1 x 1 convolution without stride an image is one row of height * width pixels.
    """
    words, block = stack_words(WORDS), stack_words(64)
    panel = nv * LANES
    panels = (out_channels + panel - 1) // panel
    depth = kernel_h * kernel_w * channels
    plain = padded == 0 and kernel_h == 1 and kernel_w == 1 and stride_h == 1 and stride_w == 1
    flat = plain and may_flatten != 0
    if (
        flat
        and x_row == width * x_pixel
        and y_row == out_width * y_pixel
        and (residual == 0 or r_row == out_width * r_pixel)
    ):
        # One long row, cut into short ones so that the threads have something to share.
        total = out_height * out_width
        out_width = _flat_width(total, mr) if total > 0 else 0
        out_height = (total + out_width - 1) // out_width if total > 0 else 0
        x_row, y_row, r_row = out_width * x_pixel, out_width * y_pixel, out_width * r_pixel
        height = out_height
        last_width = total - (out_height - 1) * out_width
    else:
        flat = False
        last_width = out_width
    if images * out_height * out_width * out_channels == 0:
        return 0
    copied = padded != 0 or (groups > 1 and kernel_w > 1)

    # Shares: rows (over all images) or panels (over all groups).
    rows, row_first, row_last = images * out_height, 0, images * out_height
    all_panels = groups * panels
    panel_first, panel_last = 0, all_panels
    row_cost = (rows + threads - 1) // threads * all_panels
    panel_cost = (all_panels + threads - 1) // threads * rows
    weights_dominate = depth * out_channels * groups > rows * out_width * channels * groups
    if panel_cost < row_cost or (panel_cost == row_cost and weights_dominate):
        panel_first = all_panels * thread // threads
        panel_last = all_panels * (thread + 1) // threads
    else:
        row_first, row_last = rows * thread // threads, rows * (thread + 1) // threads

    padded_width = (out_width - 1) * stride_w + (kernel_w - 1) * dilation_w + 1
    reach = (kernel_h - 1) * dilation_h + 1
    if copied:
        row_bytes = padded_width * channels * 4
        limit = min(ROWS_BYTES, workspace_bytes) // row_bytes
        chunk = max(1, (limit - reach) // stride_h + 1)
        local = workspace + thread * workspace_bytes
    else:
        used = min(stride_w, kernel_w) * min(stride_h, kernel_h)
        chunk = max(1, ROWS_BYTES // max(1, out_width * channels * 4 * used))
        local = 0
    if epilogue != 0 and depth * out_channels * groups * 4 <= ROWS_BYTES:
        # The results are read again: they should still be in cache, if weights leave room.
        chunk = min(chunk, max(1, ROWS_BYTES // (out_width * out_channels * groups * 4)))

    # The reduction: segments (s0, s1) of length, in blocks whose panel stays in cache.
    if dilation_w == 1 and (x_pixel == channels or copied or kernel_w == 1):
        segments0, segments1, length = kernel_h, 1, kernel_w * channels
    else:
        segments0, segments1, length = kernel_h, kernel_w, channels
    row_tiles = (out_width + mr - 1) // mr
    tiles_here = min(chunk, rows) * row_tiles
    block0, block_length = _reduction_blocks(segments0, segments1, length, panel, tiles_here)

    store_f64(words, t.LOW, low)
    store_f64(words, t.HIGH, high)
    store_i64(words, t.ACTIVATION, activation)
    store_i64(words, t.LDC, y_pixel)
    store_i64(words, t.ROW_C, y_row)
    store_i64(words, t.LDR, r_pixel)
    store_i64(words, t.ROW_R, r_row)

    if panel_first == panel_last:
        return 0
    row = row_first
    while row < row_last:
        image, h0 = row // out_height, row % out_height
        h1 = min(out_height, h0 + min(chunk, row_last - row))
        full_rows = h1 - h0 - (1 if last_width < out_width and h1 == out_height else 0)
        group_copied = -1
        for index in range(panel_first, panel_last):
            group, p = index // panels, index % panels
            columns = min(panel, out_channels - p * panel)
            x_group = x + (image * x_image + group * channels) * 4
            if copied:
                if group != group_copied:
                    _copy_rows(
                        x_group, local, h0 * stride_h - pad_top,
                        (h1 - 1) * stride_h - pad_top + reach, height, width, padded_width,
                        pad_left, channels, x_row, x_pixel,
                    )  # fmt: skip
                    group_copied = group
                a0, a_row, a_pixel = local, padded_width * channels, channels
            else:
                a0, a_row, a_pixel = x_group + h0 * stride_h * x_row * 4, x_row, x_pixel
            column = group * out_channels + p * panel
            table, width_of_panel = (
                (tiles, panel)
                if columns > panel - LANES
                else (tail_tiles, (columns + LANES - 1) // LANES * LANES)
            )
            packed = (
                w + (image * w_image + group * depth * _padded_channels(out_channels, panel)) * 4
            )
            packed += p * panel * depth * 4
            store_i64(words, t.BIAS, bias + column * 4 if bias != 0 else 0)
            store_i64(words, t.LDA, stride_w * a_pixel)
            store_i64(words, t.ROW_A, stride_h * a_row)
            store_i64(words, t.SA0, a_row * dilation_h)
            store_i64(words, t.S1, segments1)
            store_i64(words, t.SA1, dilation_w * a_pixel)
            store_i64(words, t.N, columns)
            s0, k0 = 0, 0
            while s0 < segments0 and k0 < length:
                s_count, k_count = min(block0, segments0 - s0), min(block_length, length - k0)
                final = s0 + s_count == segments0 and k0 + k_count == length
                flags = (FIRST if s0 == 0 and k0 == 0 else 0) | (LAST if final else 0)
                store_i64(words, t.S0, s_count)
                store_i64(words, t.L, k_count)
                store_i64(words, t.FLAGS, flags)
                block_bytes = s_count * segments1 * k_count * width_of_panel * 4
                at = packed + (s0 * segments1 * length + k0) * width_of_panel * 4
                store_i64(words, t.B, at)
                store_i64(words, t.AHEAD, at + block_bytes)
                store_i64(words, t.AHEAD_LINES, _lines_ahead(block_bytes, (h1 - h0) * row_tiles))
                a = a0 + (s0 * dilation_h * a_row + k0) * 4
                c = y + (image * y_image + h0 * y_row + column) * 4
                r = residual + (image * r_image + h0 * r_row + column) * 4
                if residual == 0:
                    r = 0
                if full_rows > 0:
                    _run_tiles(table, words, a, c, r, out_width, full_rows, mr)
                if full_rows < h1 - h0:
                    a += full_rows * stride_h * a_row * 4
                    c += full_rows * y_row * 4
                    r += full_rows * r_row * 4
                    _run_tiles(table, words, a, c, r, last_width, 1, mr)
                s0 += s_count if k0 + k_count == length else 0
                k0 = k0 + k_count if k0 + k_count < length else (0 if s0 < segments0 else length)
        if epilogue != 0:
            group, p = panel_first // panels, panel_first % panels
            column = group * out_channels + p * panel
            group, p = (panel_last - 1) // panels, (panel_last - 1) % panels
            end = group * out_channels + min(out_channels, (p + 1) * panel)
            for h in range(h0, h1):
                columns_here = last_width if h == out_height - 1 else out_width
                run_epilogue(
                    epilogue, epilogue_record, block, epilogue_operands, image,
                    0 if flat else h, h * out_width if flat else 0, columns_here, column,
                    end - column,
                )  # fmt: skip
        row += h1 - h0
    return 0


@njit
def _padded_channels(out_channels: int, panel: int) -> Any:
    """Channels of a group's packed weights: the last panel has its own width."""
    full = out_channels // panel * panel
    return full + (out_channels - full + LANES - 1) // LANES * LANES


def workspace_bytes(padded_width: Any, channels: int, reach: int, padded: bool) -> Any:
    """Bytes of workspace for each thread: at least the rows of one output row."""
    row = padded_width * channels * 4
    return row * reach + ROWS_BYTES if padded else 0
