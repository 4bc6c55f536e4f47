"""Winograd's convolution: fewer multiplications for windows that overlap.

Everything is channels last. A block of tiles at a time: their pixels are transformed to *points*
(``winograd_tiles``), every point is a matrix product of its own (tiles x channels times channels
x output channels) done by the tile of all products, and the products are transformed back, with
bias, residual and activation, straight into the output. Weights come transformed and packed, one
matrix after the other (``packing.pack_points``).

With strides every polyphase component (``cook_toom``) has points of its own, and their products are
summed point by point. A component of one tap uses the same weights for all points along its axis.
So are those of a volume's slices, one for each tap of the window along the third axis.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from ..fields import Depth, Epilogue, ResidualStrides, Scaled, Sizes, Strides, Tiles
from ..registry import SHARES, Pointer, kernel
from ..simd import call_kernel, load_f32, load_i64, stack_words, store_f64, store_i64
from ..target import LANES
from .packing import padded_channels
from .panel import EPILOGUE_WORDS, reduction_blocks, run_epilogue, run_panel
from .rows import copy_rows
from .scaled_words import store_bytes, store_channels
from .sum_stores import LAST, SCALED
from .tile import TILE, TILE_WORDS
from .winograd_records import INPUT, INPUT_WORDS, OUTPUT, OUTPUT_WORDS

_padded_channels = njit(padded_channels)
_LINE = 16


@njit
def _row_stride(channels: int) -> Any:
    """Elements between tiles of a point: whole lines, and no multiple of 1 KiB (cache sets)."""
    lines = (channels + _LINE - 1) // _LINE
    return (lines + (1 if lines % _LINE == 0 else 0)) * _LINE


@njit
def _point_stride(tiles: int, row: int) -> Any:
    """Elements between points: 64 bytes off a multiple of 4 KiB, or all would share a set."""
    return (tiles * row + 1023) // 1024 * 1024 + _LINE


@njit
def _read_row(
    inward: Pointer, words: Pointer, x: Pointer, v: Pointer, copy: Pointer, top: int, left: int,
    count: int, height: int, width: int, x_row: int, x_pixel: int, step: int, tall: int,
    wide: int, channels: int, fill: Any,
) -> None:  # fmt: skip
    """Transform ``count`` tiles of tall x wide pixels, ``step`` apart, the first at (top, left)."""
    store_i64(words, INPUT.channels, channels)
    tile = load_i64(words, INPUT.tile)
    done = 0
    while done < count:
        at = left + done * step
        rows_inside = top >= 0 and top + tall <= height
        # Tiles up to the first with a pixel on the other side of a border, or of the whole image.
        if not rows_inside:
            some, outside = count - done, True
        elif at < 0:
            some, outside = min(count - done, (-at + step - 1) // step), True
        else:
            inside = (width - wide - at) // step + 1 if at + wide <= width else 0
            outside = inside == 0
            some = count - done if outside else min(count - done, inside)
        if outside:
            span = (some - 1) * step + wide
            first = min(max(0, at), width)
            copy_rows(
                x + first * x_pixel * 4, copy, top, top + tall, height, width - first, span,
                min(span, max(0, -at)), channels, x_row, x_pixel, fill,
            )  # fmt: skip
            store_i64(words, INPUT.x, copy)
            store_i64(words, INPUT.row, span * channels)
            store_i64(words, INPUT.pixel, channels)
        else:
            store_i64(words, INPUT.x, x + (top * x_row + at * x_pixel) * 4)
            store_i64(words, INPUT.row, x_row)
            store_i64(words, INPUT.pixel, x_pixel)
        store_i64(words, INPUT.v, v + done * tile * 4)
        store_i64(words, INPUT.tiles, some)
        call_kernel(inward, words, 0, 0, 1, 1)
        done += some


@njit
def _write_row(
    outward: Pointer, words: Pointer, p: Pointer, y: Pointer, residual: Pointer, count: int,
    valid_h: int, last_w: int, tile_w: int,
) -> None:  # fmt: skip
    """Transform ``count`` tiles side by side back; the last is ``last_w`` pixels wide."""
    whole = count if last_w == tile_w else count - 1
    store_i64(words, OUTPUT.valid_h, valid_h)
    for part in range(2):
        some = whole if part == 0 else count - whole
        if some == 0:
            continue
        done = part * whole
        pixels = done * tile_w
        store_i64(words, OUTPUT.p, p + done * load_i64(words, OUTPUT.tile) * 4)
        store_i64(words, OUTPUT.y, y + pixels * load_i64(words, OUTPUT.pixel) * 4)
        store_i64(
            words,
            OUTPUT.residual,
            residual + pixels * load_i64(words, OUTPUT.r_pixel) * 4 if residual != 0 else 0,
        )
        store_i64(words, OUTPUT.valid_w, tile_w if part == 0 else last_w)
        store_i64(words, OUTPUT.tiles, some)
        call_kernel(outward, words, 0, 0, 1, 1)


@njit
def _multiply_points(
    words: Pointer, tile: Tiles, w: Pointer, v: Pointer, p: Pointer,
    rows: int, columns: int, v_row: int, p_row: int, begins: bool, count: int, channels: int,
    out_channels: int, groups: int, panel_first: int, panel_last: int,
) -> None:  # fmt: skip
    """Multiply rows x columns points of ``count`` tiles, which share their weights.

    Rows of points are ``v_row`` and ``p_row`` elements apart. Of all panels those from
    ``panel_first`` on are used.
    """
    panel = tile.nv * LANES
    panels = (out_channels + panel - 1) // panel
    group_size = channels * _padded_channels(out_channels, panel)
    row_tiles = (count + tile.mr - 1) // tile.mr * columns
    block0, block_length = reduction_blocks(1, 1, channels, panel, row_tiles, 4, tile.panel_bytes)
    first_column = panel_first // panels * out_channels + panel_first % panels * panel
    for row in range(rows):
        for index in range(panel_first, panel_last):
            group, k = index // panels, index % panels
            lanes = min(panel, out_channels - k * panel)
            full = lanes > panel - LANES
            width = panel if full else (lanes + LANES - 1) // LANES * LANES
            column = group * out_channels + k * panel - first_column
            store_i64(words, TILE.n, lanes)
            run_panel(
                tile.tiles if full else tile.tail_tiles, words, width,
                w + (group * group_size + k * panel * channels) * 4,
                v + (row * v_row + group * channels) * 4, p + (row * p_row + column) * 4,
                0, count, columns, 0, tile.mr, 1, channels, block0, block_length, begins, LAST, 4,
                tile.panel_bytes, 0, tile.bytes_ahead,
            )  # fmt: skip


@njit
def _multiply(
    words: Pointer, tile: Tiles, w: Pointer, v: Pointer, p: Pointer,
    tile_h: int, tile_w: int, kernel_h: int, kernel_w: int, stride_h: int, stride_w: int,
    v_point: int, p_point: int, count: int, channels: int, out_channels: int, groups: int,
    panel_first: int, panel_last: int, begins: bool,
) -> Pointer:  # fmt: skip
    """Multiply the points of all polyphase components of ``count`` tiles, and sum over these.

    Unless it ``begins`` them, sums are added to what ``p`` holds. Returns where the weights end.
    """
    p_row = (tile_w + (kernel_w - 1) // stride_w) * p_point
    matrix = groups * channels * _padded_channels(out_channels, tile.nv * LANES)
    for component in range(stride_h * stride_w):
        taps_h = (kernel_h - component // stride_w - 1) // stride_h + 1
        taps_w = (kernel_w - component % stride_w - 1) // stride_w + 1
        points_h, points_w = tile_h + taps_h - 1, tile_w + taps_w - 1
        rows = points_h if taps_h == 1 else 1
        columns = points_w if taps_w == 1 else 1
        v_row = points_w * v_point
        for i in range(0, points_h, rows):
            for j in range(0, points_w, columns):
                _multiply_points(
                    words, tile, w, v + (i * v_row + j * v_point) * 4,
                    p + (i * p_row + j * p_point) * 4, rows, columns, v_row, p_row,
                    begins and component == 0, count, channels, out_channels, groups, panel_first,
                    panel_last,
                )  # fmt: skip
                w += matrix * 4
        v += points_h * v_row * 4
    return w


@kernel
def winograd(
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
    tile_h: int,
    tile_w: int,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pool: int,
    pad_top: int,
    pad_left: int,
    pad: Pointer,
    spread: int,
    depth: Depth,
    strides: Strides,
    residual_strides: ResidualStrides,
    tile: Tiles,
    inward: Pointer,
    outward: Pointer,
    block: int,
    fetch: int,
    workspace: Pointer,
    workspace_bytes: int,
    after: Epilogue,
    scaled: Scaled,
) -> int:
    """Convolve channels-last images, dilation 1, by Winograd's algorithm.

    Fields as in ``conv.convolve``; ``inward`` and ``outward`` are the transforms, ``block`` the
    most tiles done at a time, ``fetch`` those that use a vector of weights while it comes from
    memory. ``channels`` are those of points, in words of 4 bytes, of which each word of the image
    has ``spread``; one of bytes, or of bfloat16, has two. Tiles of all images, or panels of output
    channels, are split over the parts, whichever costs less.
    """
    words, epilogue_words = stack_words(TILE_WORDS), stack_words(EPILOGUE_WORDS)
    inner, outer = stack_words(INPUT_WORDS), stack_words(OUTPUT_WORDS)
    if scaled.halves != 0:
        y, residual = y << 1, residual << 1  # as `sum_stores` has it
    slices = sizes.images * depth.out_slices
    if slices * sizes.out_height * sizes.out_width * out_channels == 0:
        return 0
    # A tile has as many points, of all components, as pixels, and sums for those of the first.
    tall, wide = (tile_h - 1) * stride_h + kernel_h, (tile_w - 1) * stride_w + kernel_w
    sums = (tile_h + (kernel_h - 1) // stride_h) * (tile_w + (kernel_w - 1) // stride_w)
    down, across = (
        (sizes.out_height + tile_h - 1) // tile_h,
        (sizes.out_width + tile_w - 1) // tile_w,
    )
    panel = tile.nv * LANES
    panels = (out_channels + panel - 1) // panel
    all_panels, all_channels = groups * panels, groups * channels
    fill = load_f32(pad, 0) if pad != 0 else np.float32(0.0)

    # Shares: tiles, or panels; then every thread transforms all the input.
    all_tiles = slices * down * across
    tile_first, tile_last = all_tiles * part // parts, all_tiles * until // parts
    panel_first, panel_last = 0, all_panels
    tile_share, panel_share = (all_tiles - 1) // SHARES + 1, (all_panels - 1) // SHARES + 1
    per_panel = channels * tile.nv
    tile_cost = tile_share * all_channels + all_panels * per_panel * max(tile_share, fetch)
    panel_cost = all_tiles * all_channels + panel_share * per_panel * max(all_tiles, fetch)
    if panel_cost < tile_cost:
        tile_first, tile_last = 0, all_tiles
        panel_first = all_panels * part // parts
        panel_last = all_panels * until // parts
    if tile_first == tile_last or panel_first == panel_last:
        return 0
    group, k = panel_first // panels, panel_first % panels
    column = group * out_channels + k * panel
    group, k = (panel_last - 1) // panels, (panel_last - 1) % panels
    columns = group * out_channels + min(out_channels, (k + 1) * panel) - column

    # Blocks of the same size.
    pieces = (tile_last - tile_first + block - 1) // block
    chunk = (tile_last - tile_first + pieces - 1) // pieces
    v_tile, p_tile = _row_stride(all_channels), _row_stride(columns)
    v_point, p_point = _point_stride(chunk, v_tile), _point_stride(chunk, p_tile)
    v = workspace + thread * workspace_bytes
    p = v + tall * wide * v_point * 4
    copy = p + sums * p_point * 4

    for word in range(TILE_WORDS):
        store_i64(words, word, 0)
    store_i64(words, TILE.s1, 1)
    store_i64(words, TILE.lda, v_tile)
    store_i64(words, TILE.ldc, p_tile)
    store_i64(words, TILE.row_a, v_point)
    store_i64(words, TILE.row_c, p_point)
    store_i64(inner, INPUT.point, v_point)
    store_i64(inner, INPUT.tile, v_tile)
    store_i64(outer, OUTPUT.bias, bias + column * 4 if bias != 0 else 0)
    store_i64(outer, OUTPUT.channels, columns)
    store_i64(outer, OUTPUT.point, p_point)
    store_i64(outer, OUTPUT.tile, p_tile)
    store_i64(outer, OUTPUT.row, strides.y_row)
    store_i64(outer, OUTPUT.pixel, strides.y_pixel)
    store_i64(outer, OUTPUT.r_row, residual_strides.r_row)
    store_i64(outer, OUTPUT.r_pixel, residual_strides.r_pixel)
    store_i64(outer, OUTPUT.activation, after.activation)
    store_f64(outer, OUTPUT.low, after.low)
    store_f64(outer, OUTPUT.high, after.high)
    store_i64(outer, OUTPUT.flags, SCALED if scaled.scales != 0 else 0)
    store_channels(outer, OUTPUT, scaled, column * 4)
    if scaled.target != 0:
        store_bytes(outer, OUTPUT, scaled, y)

    for first in range(tile_first, tile_last, chunk):
        count = min(chunk, tile_last - first)
        weights = w
        for tap in range(depth.kernel_d):
            done = 0
            while done < count:
                row, start = (first + done) // across, (first + done) % across
                some = min(count - done, across - start)
                image, d = row // down // depth.out_slices, row // down % depth.out_slices
                d = d * depth.stride_d - depth.pad_front + tap * depth.dilation_d
                # A slice outside has no rows.
                height = sizes.height if 0 <= d < depth.slices else 0
                _read_row(
                    inward, inner, x + (image * strides.x_image + d * depth.x_slice) * 4,
                    v + done * v_tile * 4, copy, row % down * tile_h * stride_h - pad_top,
                    start * tile_w * stride_w - pad_left, some, height, sizes.width,
                    strides.x_row, strides.x_pixel, tile_w * stride_w, tall, wide,
                    all_channels // spread, fill,
                )  # fmt: skip
                done += some
            weights = _multiply(
                words, tile, weights, v, p, tile_h, tile_w, kernel_h, kernel_w, stride_h,
                stride_w, v_point, p_point, count, channels, out_channels, groups, panel_first,
                panel_last, tap == 0,
            )  # fmt: skip
        done = 0
        while done < count:
            row, start = (first + done) // across, (first + done) % across
            some = min(count - done, across - start)
            image, d = row // down // depth.out_slices, row // down % depth.out_slices
            h, left = row % down * tile_h, start * tile_w
            pixels = min(sizes.out_width - left, some * tile_w)
            valid_h = min(tile_h, sizes.out_height - h)
            target = (
                image * strides.y_image
                + d * depth.y_slice
                + h // pool * strides.y_row
                + left // pool * strides.y_pixel
                + column
            )
            r = (
                residual
                + (
                    image * residual_strides.r_image
                    + d * depth.r_slice
                    + h * residual_strides.r_row
                    + left * residual_strides.r_pixel
                    + column
                )
                * 4
            )
            _write_row(
                outward, outer, p + done * p_tile * 4, y + target * 4, r if residual != 0 else 0,
                some, valid_h // pool, (pixels - (some - 1) * tile_w) // pool, tile_w // pool,
            )  # fmt: skip
            if after.epilogue != 0:
                for h_out in range(h, h + valid_h):
                    run_epilogue(
                        after, epilogue_words, image, h_out, left,
                        pixels, column, columns,
                    )  # fmt: skip
            done += some
    return 0


def workspace_bytes(
    block: int, tile: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int],
    channels: int, out_channels: int,
) -> int:  # fmt: skip
    """Bytes of workspace for each thread: points, products, and copied rows at the border.

    Channels are those of all groups.
    """
    sides = list(zip(tile, kernel, strides, strict=True))
    tall, wide = ((m - 1) * stride + r for m, r, stride in sides)
    sums = math.prod(m + (r - 1) // stride for m, r, stride in sides)
    points, products = (
        _point_stride.py_func(block, _row_stride.py_func(count))
        for count in (channels, out_channels)
    )
    copied = tall * ((block - 1) * tile[1] * strides[1] + wide) * channels
    floats = tall * wide * points + sums * products + copied
    return int(-(-floats * 4 // 64) * 64)
