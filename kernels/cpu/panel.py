"""Loops over the tiles of one panel of weights, and the epilogue of a finished block."""

from __future__ import annotations

from typing import Any

from numba import njit

from ..fields import Epilogue
from ..registry import Pointer
from ..simd import call_kernel, load_i64, store_i64
from ..target import L2_BYTES, LANES
from .sum_stores import FIRST
from .tile import TILE

_MOST_AHEAD = 8
"""Tiles whose rows are asked for before they are read, at most."""
EPILOGUE_WORDS = 128
"""Room for the record of a pointwise kernel that is moved to a block."""


@njit
def _steps(words: Pointer) -> int:
    """Steps of a tile's reduction."""
    return load_i64(words, TILE.s0) * load_i64(words, TILE.s1) * load_i64(words, TILE.length)


@njit
def run_tiles(
    tiles: Pointer, words: Pointer, a: Pointer, c: Pointer, residual: Pointer, width: int,
    rows: int, mr: int, itemsize: int, tiles_ahead: int,
) -> None:  # fmt: skip
    """Run the tiles of rows, each split nearly evenly; ``words`` holds all other arguments.

    Tiles prefetch what ``words`` say or, unless that is 0, what ``tiles_ahead`` of them later read
    of ``a``: they read as many streams as they have rows, which a processor does not follow.
    """
    pieces = (width + mr - 1) // mr
    size = width // pieces
    larger = width - size * pieces
    store_i64(words, TILE.rows, rows)
    for part in range(2):
        pixels, count = (size + 1, larger) if part == 0 else (size, pieces - larger)
        if count == 0:
            continue
        store_i64(words, TILE.a, a)
        store_i64(words, TILE.c, c)
        store_i64(words, TILE.residual, residual)
        store_i64(words, TILE.tiles, count)
        store_i64(words, TILE.height, pixels)
        tile_bytes = pixels * load_i64(words, TILE.lda) * itemsize
        steps = _steps(words)
        if tiles_ahead > 0:
            store_i64(words, TILE.ahead, a + tiles_ahead * tile_bytes)
            store_i64(words, TILE.ahead_step, (tile_bytes + steps - 1) // steps)
            store_i64(words, TILE.row_ahead, load_i64(words, TILE.row_a) * itemsize)
        else:
            moved = load_i64(words, TILE.ahead_step) * count * steps
            store_i64(words, TILE.row_ahead, moved)
        call_kernel(load_i64(tiles, pixels), words, 0, 0, 1, 1)
        moved = load_i64(words, TILE.row_ahead) * rows
        store_i64(words, TILE.ahead, load_i64(words, TILE.ahead) + moved)
        a += tile_bytes * count
        c += pixels * count * load_i64(words, TILE.ldc) * itemsize
        residual += pixels * count * load_i64(words, TILE.ldr) * itemsize


@njit
def run_panel(
    tiles: Pointer, words: Pointer, panel: int, packed: Pointer, a: Pointer, c: Pointer,
    residual: Pointer, width: int, rows: int, last_width: int, mr: int, segments0: int, length: int,
    block0: int, block_length: int, begins: bool, ends: int, itemsize: int, panel_bytes: int,
    latency: int, bytes_ahead: int,
) -> None:  # fmt: skip
    """Run a reduction of one panel, a block that stays in cache at a time.

    ``rows`` rows of ``width`` pixels, then one of ``last_width`` (0: none). ``words`` holds the
    strides, the number of inner segments, bias and activation. Unless it ``begins`` them, sums
    are added to what ``c`` holds. Tiles prefetch weights of the next block or, if there is a
    ``latency`` (multiply-adds of vectors), rows that the panel is the first to read. A single tile
    prefetches what lies ``bytes_ahead`` of its weights, which nothing has asked for. ``ends`` are
    the tile's flags of its last block: 0 where sums go on, and the activation is not applied yet.
    """
    segments1, step = load_i64(words, TILE.s1), load_i64(words, TILE.sa0)
    row_tiles = (width + mr - 1) // mr
    all_rows = rows + (1 if last_width > 0 else 0)
    is_single, tiles_ahead = all_rows * row_tiles == 1, 0
    if latency > 0 and not is_single and block0 >= segments0 and 0 < length <= block_length:
        vectors = (panel * itemsize + LANES * 4 - 1) // (LANES * 4)
        each = segments0 * segments1 * length * vectors * mr
        tiles_ahead = min(1 + (latency + each - 1) // each, _MOST_AHEAD)
    s0, k0 = 0, 0
    while s0 < segments0:
        s_count, k_count = min(block0, segments0 - s0), min(block_length, length - k0)
        final = s0 + s_count == segments0 and k0 + k_count == length
        store_i64(words, TILE.s0, s_count)
        store_i64(words, TILE.length, k_count)
        first = begins and s0 + k0 == 0
        store_i64(words, TILE.flags, (FIRST if first else 0) | (ends if final else 0))
        block_bytes = s_count * segments1 * k_count * panel * itemsize
        at = packed + (s0 * segments1 * length + k0) * panel * itemsize
        store_i64(words, TILE.b, at)
        tile_steps = max(1, all_rows * row_tiles * _steps(words))
        share = (block_bytes + tile_steps - 1) // tile_steps
        # No cache holds such a block and the next one; processors fetch what is read in order.
        streamed = block_bytes > max(2 * panel_bytes, L2_BYTES // 2)
        ahead, moved = (at, 0) if streamed else (at + block_bytes, share)
        if is_single:
            ahead, moved = at + bytes_ahead, panel * itemsize
        store_i64(words, TILE.ahead, ahead)
        store_i64(words, TILE.ahead_step, moved)
        start = a + (s0 * step + k0) * itemsize
        if rows > 0:
            run_tiles(tiles, words, start, c, residual, width, rows, mr, itemsize,
                      tiles_ahead)  # fmt: skip
        if last_width > 0:
            start += rows * load_i64(words, TILE.row_a) * itemsize
            last_c = c + rows * load_i64(words, TILE.row_c) * itemsize
            last_r = residual + rows * load_i64(words, TILE.row_r) * itemsize
            run_tiles(tiles, words, start, last_c, last_r, last_width, 1, mr, itemsize,
                      tiles_ahead)  # fmt: skip
        k0 += k_count
        if k0 == length:
            s0, k0 = s0 + s_count, 0


@njit
def reduction_blocks(
    segments0: int, segments1: int, length: int, panel: int, tiles: int, itemsize: int,
    panel_bytes: int,
) -> Any:  # fmt: skip
    """How many segments, or elements of one, a tile takes at a time: ``panel_bytes`` of weights.

    For ``tiles`` tiles; a few do not use the weights often enough to pay for the interruptions.
    """
    segment_bytes = max(1, segments1 * length * panel * itemsize)
    if tiles < 3 or segment_bytes * segments0 <= panel_bytes * 3 // 2:
        return segments0, length
    if segment_bytes <= panel_bytes * 3 // 2 or segments1 > 1:
        return max(1, panel_bytes // segment_bytes), length
    pieces = (segment_bytes + panel_bytes - 1) // panel_bytes
    return 1, ((length + pieces - 1) // pieces + 15) // 16 * 16  # whole steps of an AMX tile


@njit
def run_epilogue(
    after: Epilogue,
    words: Pointer,
    image: int,
    row: int,
    pixel: int,
    width: int,
    column: int,
    columns: int,
) -> None:
    """Run a pointwise kernel on a finished block: width pixels by columns channels.

    See `run_over`.
    """
    run_over(
        after.epilogue, after.epilogue_record, after.epilogue_operands, words, image, row, pixel,
        width, column, columns,
    )  # fmt: skip


@njit
def run_over(
    kernel: Pointer, record: Pointer, operands: int, words: Pointer, image: int, row: int,
    pixel: int, width: int, column: int, columns: int,
) -> None:  # fmt: skip
    """Run a pointwise kernel on a block of its result: width pixels by columns channels.

    The template ``record`` has the axes (image, row, pixel, channel); every operand is shifted to
    the block. It ends with the bytes of an element of each. ``words`` are `EPILOGUE_WORDS` words.
    """
    itemsizes = 4 + 5 * (operands + 1)
    for i in range(itemsizes):
        store_i64(words, i, load_i64(record, i))
    store_i64(words, 0, 1)
    store_i64(words, 1, 1)
    store_i64(words, 2, width)
    store_i64(words, 3, columns)
    for operand in range(operands + 1):
        at = 4 + 5 * operand
        shift = image * load_i64(record, at + 1) + row * load_i64(record, at + 2)
        shift += pixel * load_i64(record, at + 3) + column * load_i64(record, at + 4)
        shift *= load_i64(record, itemsizes + operand)
        store_i64(words, at, load_i64(record, at) + shift)
    call_kernel(kernel, words, 0, 0, 1, 1)
