"""Convolutions and matrix products of float32 by AMX: operands are sums of bfloat16 terms.

Everything is channels last, and a matrix product is a 1 x 1 convolution over one long row, as in
`conv`. A chunk of rows is split into terms in cache (`term_rows`), which all panels of weights
read; weights come split and packed (`term_packing`). Sums of 32 pixels by 32 channels are tiles
(`term_tile`), and are finished while the first-level cache holds them (`finish`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import njit

from ..amx import ROW_BYTES, ROWS, STATE_WORDS, release
from ..bfloat_terms import BLOCK, TERM_BYTES
from ..fields import Epilogue, ResidualStrides, Sizes, Strides, Window
from ..registry import SHARES, Pointer, kernel_factory
from ..scratch import scratch
from ..simd import stack_words
from ..target import target
from ..vector_memory import ITEM_BYTES
from .finish import COLUMNS
from .panel import EPILOGUE_WORDS, run_epilogue
from .term_panel import SUMS_BYTES, Block, Pieces, make_panel, nothing
from .term_rows import Rows, make_split_rows
from .term_tile import SUM_BYTES, TILE_BYTES, Sums
from .tile_block import configure_block

ROWS_BYTES = target().l2 // 2
"""Split rows that all panels should find in the second-level cache, in bytes."""
LONG_ROW = 4 * ROWS
"""Pixels of the rows that one long row is cut into."""
_SETS = 8 * ROW_BYTES
_SLACK = ROWS
"""Pixels behind all rows, which the last piece of a row may read and nothing uses."""


@njit
def _apart(size: int, pixel: int) -> Any:
    """Distance of blocks of channels, which would else compete for a few sets of L1."""
    return size if size % _SETS != 0 else size + pixel


class Layout(NamedTuple):
    """Rows and pixels of images as they are computed; distances are elements.

    Where ``is_flat``, an image is one long row, cut into short ones so that there are parts to
    share; the last one has ``last_width`` pixels.
    """

    height: int
    width: int
    out_height: int
    out_width: int
    last_width: int
    x_row: int
    x_pixel: int
    y_row: int
    r_row: int
    stride_h: int
    stride_w: int
    is_flat: bool


@njit
def _is_whole_pixel(window: Window) -> bool:
    """Tell whether a window is one pixel, and none lies outside before the image."""
    is_pixel = window.kernel_h == 1 and window.kernel_w == 1
    return is_pixel and window.pad_top == 0 and window.pad_left == 0


@njit
def _layout(
    sizes: Sizes, window: Window, strides: Strides, r_row: int, r_pixel: int, may_flatten: int
) -> Layout:  # fmt: skip
    """Return the layout of images; ``r_row`` and ``r_pixel`` are those of the residual, or 0."""
    height, width = sizes.height, sizes.width
    out_height, out_width = sizes.out_height, sizes.out_width
    x_row, x_pixel, y_row = strides.x_row, strides.x_pixel, strides.y_row
    stride_h, stride_w = window.stride_h, window.stride_w
    is_pixel = window.kernel_h == 1 and window.kernel_w == 1
    if _is_whole_pixel(window):
        # Pixels between the strides are not split.
        x_row, x_pixel, stride_h, stride_w = x_row * stride_h, x_pixel * stride_w, 1, 1
        height = min((height + window.stride_h - 1) // window.stride_h, out_height)
        width = min((width + window.stride_w - 1) // window.stride_w, out_width)
    last_width, is_flat = out_width, False
    is_dense = (
        x_row == width * x_pixel and y_row == out_width * strides.y_pixel
        and r_row == out_width * r_pixel
    )  # fmt: skip
    is_whole = height == out_height and width == out_width and stride_h * stride_w == 1
    if may_flatten != 0 and is_pixel and is_whole and is_dense:
        is_flat, total = True, out_height * out_width
        out_width = width = min(LONG_ROW, total)
        out_height = height = (total + LONG_ROW - 1) // LONG_ROW
        last_width = total - (out_height - 1) * out_width
        x_row, y_row, r_row = width * x_pixel, width * strides.y_pixel, width * r_pixel
    return Layout(
        height, width, out_height, out_width, last_width, x_row, x_pixel, y_row, r_row, stride_h,
        stride_w, is_flat,
    )  # fmt: skip


@njit
def _shares(part: int, until: int, parts: int, rows: int, panels: int) -> Any:
    """Divide rows (over all images) or panels (over all groups): first and last of both."""
    row_cost = (rows + SHARES - 1) // SHARES * panels
    panel_cost = (panels + SHARES - 1) // SHARES * rows
    if panel_cost + panel_cost // 8 < row_cost:  # see `conv.convolve`
        return 0, rows, panels * part // parts, panels * until // parts
    return rows * part // parts, rows * until // parts, 0, panels


def _make_split_chunk(terms: int, kind: str) -> Callable[..., None]:
    """Return what splits the rows of a group from output row ``h0`` to ``h1``."""
    split_rows, pixel_bytes = make_split_rows(terms, kind), terms * TERM_BYTES
    itemsize = ITEM_BYTES[kind]

    @njit
    def split_chunk(
        own: Layout, window: Window, source: Pointer, channels: int, h0: int, h1: int, a: Pointer,
        count: int, padded_width: int, plane: int,
    ) -> None:  # fmt: skip
        top = h0 * own.stride_h - window.pad_top
        # The end of a long row is shorter than the others.
        short = 1 if own.is_flat and h1 == own.out_height else 0
        rows = Rows(
            source, own.height, own.width, channels, own.x_row, own.x_pixel, top, window.pad_left
        )
        split_rows(rows, a, count - short, padded_width, plane)
        if short > 0:
            last = Rows(
                source + (h1 - 1) * own.x_row * itemsize, 1, own.last_width, channels, own.x_row,
                own.x_pixel, 0, 0,
            )  # fmt: skip
            at = a + (count - 1) * padded_width * pixel_bytes
            split_rows(last, at, 1, own.last_width, plane)

    return split_chunk


@kernel_factory
def term_convolve(
    terms: int, x_kind: str = "f32", y_kind: str = "f32", r_kind: str = "f32"
) -> Callable[..., int]:
    """Build the convolution of sums of so many ``terms`` (`bfloat_terms`).

    Input, results and residual are float32, or bfloat16 (kinds of `ITEM_BYTES`).
    """
    split_chunk = _make_split_chunk(terms, x_kind)
    run_panel, finish = make_panel(terms, y_kind, r_kind)
    x_size, y_size, r_size = (ITEM_BYTES[kind] for kind in (x_kind, y_kind, r_kind))
    pixel_bytes, tile_bytes = terms * TERM_BYTES, terms * TILE_BYTES
    can_read = terms == 1 and x_kind == "bf16"

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, w: Pointer, bias: Pointer, y: Pointer, residual: Pointer, sizes: Sizes,
        channels: int, out_channels: int, groups: int, window: Window, strides: Strides,
        residual_strides: ResidualStrides, w_image: int, workspace: Pointer, workspace_bytes: int,
        after: Epilogue, may_flatten: int,
    ) -> int:  # fmt: skip
        """Fields as in `conv.convolve`; ``w_image`` are bytes, 0 where images share weights."""
        r_pixel = residual_strides.r_pixel if residual != 0 else 0
        r_row = residual_strides.r_row if residual != 0 else 0
        own = _layout(sizes, window, strides, r_row, r_pixel, may_flatten)
        panels = (out_channels + COLUMNS - 1) // COLUMNS
        blocks, taps = (channels + BLOCK - 1) // BLOCK, window.kernel_h * window.kernel_w
        row, row_last, panel_first, panel_last = _shares(
            part, until, parts, sizes.images * own.out_height, groups * panels
        )
        if own.out_width == 0 or panel_first == panel_last or row == row_last:
            return 0

        # A chunk: as many split rows as all panels find in the cache, but one at least.
        reach_h = (window.kernel_h - 1) * window.dilation_h + 1
        reach_w = (window.kernel_w - 1) * window.dilation_w + 1
        padded_width = (own.out_width - 1) * own.stride_w + reach_w
        split_row = padded_width * pixel_bytes
        done = workspace + thread * workspace_bytes
        a = done + 2 * SUMS_BYTES
        room = workspace_bytes - 2 * SUMS_BYTES - (_SLACK * own.stride_w + blocks) * pixel_bytes
        room = min(room, ROWS_BYTES)
        chunk = max(1, (room // (split_row * blocks) - reach_h) // own.stride_h + 1)

        # Pixels of bfloat16 are rows of tiles as they lie, but where some lie outside the image.
        is_whole = _is_whole_pixel(window) and own.out_width <= own.width
        is_whole = is_whole and own.out_height <= own.height
        state, words = scratch(STATE_WORDS), stack_words(EPILOGUE_WORDS)
        pieces_of_row = (own.out_width + ROWS - 1) // ROWS
        piece = (own.out_width + pieces_of_row - 1) // pieces_of_row
        configure_block(state, piece)
        first_column = panel_first // panels * out_channels + panel_first % panels * COLUMNS
        last_group, k = (panel_last - 1) // panels, (panel_last - 1) % panels
        end_column = last_group * out_channels + min(out_channels, (k + 1) * COLUMNS)
        panel_bytes = taps * blocks * tile_bytes * 2
        group_bytes = (out_channels + ROWS - 1) // ROWS * (panel_bytes // 2)
        while row < row_last:
            image, h0 = row // own.out_height, row % own.out_height
            h1 = min(own.out_height, h0 + min(chunk, row_last - row))
            in_place = can_read and channels % BLOCK == 0 and is_whole
            if in_place and h1 == own.out_height and own.last_width < piece:
                # A row shorter than a piece has nothing behind it: it is a chunk of its own.
                in_place, h1 = h0 < h1 - 1, max(h1 - 1, h0 + 1)
            count = (h1 - h0 - 1) * own.stride_h + reach_h
            if in_place:
                plane, row_bytes, pixel = TERM_BYTES, own.x_row * x_size, own.x_pixel * x_size
            else:
                plane = _apart(count * split_row, pixel_bytes)
                row_bytes, pixel = own.stride_h * split_row, own.stride_w * pixel_bytes
            over = Sums(
                window.kernel_h, window.kernel_w, window.dilation_h * split_row,
                window.dilation_w * pixel_bytes, blocks, plane, pixel, SUM_BYTES,
            )  # fmt: skip
            pieces = Pieces(
                piece, h1 - h0, own.out_width,
                own.last_width if h1 == own.out_height else own.out_width,
                row_bytes, pixel, in_place,
            )  # fmt: skip
            group_split, before = -1, nothing()
            for index in range(panel_first, panel_last):
                group, p = index // panels, index % panels
                source = x + (image * strides.x_image + group * channels) * x_size
                if in_place:
                    source += h0 * own.x_row * x_size
                elif group != group_split:
                    split_chunk(
                        own, window, source, channels, h0, h1, a, count, padded_width, plane
                    )
                    group_split = group
                column = group * out_channels + p * COLUMNS
                c = image * strides.y_image + h0 * own.y_row + column
                r = image * residual_strides.r_image + h0 * own.r_row + column
                results = Block(
                    y + c * y_size, own.y_row * y_size, strides.y_pixel * y_size,
                    residual + r * r_size if residual != 0 else 0, own.r_row * r_size,
                    r_pixel * r_size,
                    bias + column * 4 if bias != 0 else 0,
                    min(COLUMNS, out_channels - p * COLUMNS), after.activation, after.low,
                    after.high,
                )  # fmt: skip
                b = w + image * w_image + group * group_bytes + p * panel_bytes
                before = run_panel(
                    state, over, pieces, results, source if in_place else a, b, done, before
                )
            finish(before, 0, 2 * ROWS)
            if after.epilogue != 0:
                for h in range(h0, h1):
                    run_epilogue(
                        after, words, image, 0 if own.is_flat else h,
                        h * own.out_width if own.is_flat else 0,
                        own.last_width if h == own.out_height - 1 else own.out_width,
                        first_column, end_column - first_column,
                    )  # fmt: skip
            row += h1 - h0
        release(state)
        return 0

    return body


def workspace_bytes(terms: int, padded_width: Any, channels: Any, reach: int, stride: int) -> Any:
    """Bytes of workspace for each thread: sums, and at least the rows of one output row."""
    blocks = -(-channels // BLOCK)
    pixel = terms * TERM_BYTES
    least = (padded_width * reach + 1) * pixel * blocks
    return 2 * SUMS_BYTES + _SLACK * stride * pixel + least + ROWS_BYTES
