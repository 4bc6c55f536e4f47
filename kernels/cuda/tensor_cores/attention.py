"""Attention by `mma.sync`: blocks of queries of a head, which go through the keys that they see.

Heads of the queries may share those of keys and values (grouped heads). Tiles of keys and values
come through two stages: while one is multiplied, the next is copied (cp.async).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from ...index_errors import code_of_index
from ..basic import (
    block_x,
    block_y,
    commit_copies,
    load,
    quotient,
    shared_start,
    store,
    synchronize,
    thread_index,
    wait_copies,
)
from ..kernel import Body, Bounds, Fields, Launch, Limits, cuda_factory
from ..ptx import DeviceFunction, device
from .epilogue import RESULT_BYTES, Epilogue, store_tile
from .swizzle import ROW
from .tile_copies import copy_rows
from .warp_attention import AttentionTile, attend, begin_attention, end_attention, load_queries
from .warp_product import keep_sums

_LOG2_E = math.log2(math.e)


def _copy_panels(tile: AttentionTile, rows: int) -> DeviceFunction:
    """Return the function that copies rows of a head: panels of 64 elements."""
    panels, panel_bytes = tile.panels, rows * ROW
    copy_panel = copy_rows(rows, tile.threads, 2, True)

    @device
    def copy(
        thread: Any, to: Any, matrix: Any, first: Any, rows: Any, pitch: Any, head: Any
    ) -> None:
        for i in range(panels):
            copy_panel(thread, to + i * panel_bytes, matrix, first, rows, pitch, i * 128, head * 2)

    return copy


@functools.cache
def attention_function(tile: AttentionTile) -> Callable[..., None]:
    """Return the function of a kernel; its parameters are those of the kernel by multiply-adds.

    Queries see keys up to ``right`` behind their own; a length out of range is reported. Rows begin
    at multiples of 16 bytes, and the scale is above 0.
    """
    rows, stage_keys, tile_bytes = tile.rows, tile.keys, tile.tile_bytes
    stage_bytes, query_bytes, is_masked = 2 * tile.tile_bytes, tile.query_bytes, tile.is_masked
    copy_queries, copy_keys = _copy_panels(tile, rows), _copy_panels(tile, stage_keys)
    begin, load_rows, end = begin_attention(tile), load_queries(tile), end_attention(tile)
    see_all, see_some, wait_all = attend(tile, False), attend(tile, True), wait_copies(0)
    keep = keep_sums("f32", 16, tile.head, tile.pitch)
    pitch, threads, y_size = tile.pitch, tile.threads, RESULT_BYTES[tile.result]
    finish = store_tile(rows, tile.head, threads, pitch, tile.result, True, Epilogue())
    load_word, put_word = load("global", "i64"), store("global", "i64")
    code = device(code_of_index)

    def kernel(  # type: ignore[no-untyped-def]
        batch, heads, group, queries, keys, size, width, q, q_batch, q_head, q_row, k, k_batch,
        k_head, k_row, v, v_batch, v_head, v_row, y, y_batch, y_head, y_row, mask, mask_batch,
        mask_head, mask_row, mask_keys, lengths, past, right, scale: float, status,
    ):  # fmt: skip
        thread, start = thread_index(), shared_start()
        tiles = (queries + (rows - 1)) // rows
        b, head = quotient(block_x(), tiles), block_y()
        first, shared = (block_x() - b * tiles) * rows, quotient(head, group)
        mine_q = q + 2 * (b * q_batch + head * q_head)
        mine_k = k + 2 * (b * k_batch + shared * k_head)
        mine_v = v + 2 * (b * v_batch + shared * v_head)
        lane, warp, stages = thread & 31, thread >> 5, start + query_bytes
        limit, ahead = keys, past + right + 1
        if lengths != 0:
            limit = load_word(lengths + 8 * b)
            if limit < 0 or limit > keys:
                put_word(status, code(limit))
                limit = 0
            ahead = limit - queries + right + 1
        if is_masked:
            limit = min(limit, mask_keys)
        seen = min(limit, ahead + first + rows - 1)
        count = (max(seen, 0) + stage_keys - 1) // stage_keys
        copy_queries(thread, start, mine_q, first, queries, 2 * q_row, size)
        if count > 0:
            copy_keys(thread, stages, mine_k, 0, keys, 2 * k_row, size)
            copy_keys(thread, stages + tile_bytes, mine_v, 0, keys, 2 * v_row, size)
        commit_copies()
        wait_all()
        synchronize()
        row, piece = warp * 16 + (lane & 15), lane >> 4
        mine = load_rows(start + row * 128 + ((piece ^ (row & 7)) << 4))
        row = (lane & 7) + ((lane >> 4) << 3)
        in_keys = row * 128 + ((((lane >> 3) & 1) ^ (row & 7)) << 4)
        row = lane & 15
        in_values = tile_bytes + row * 128 + ((piece ^ (row & 7)) << 4)
        state = begin()
        low = first + warp * 16 + (lane >> 2)
        column, slot = 2 * (lane & 3), 0
        limit0, limit1 = min(limit, ahead + low), min(limit, ahead + low + 8)
        all_seen, unit = min(limit, ahead + first), scale * _LOG2_E
        # Rows beyond the last one have the mask of that, so that nothing is read beyond.
        mine_mask = mask + 4 * (b * mask_batch + head * mask_head + column)
        mask0 = mine_mask + 4 * min(low, queries - 1) * mask_row
        mask1, inverse = mine_mask + 4 * min(low + 8, queries - 1) * mask_row, 1.0 / scale
        for stage in range(count):
            if stage > 0:
                wait_all()
                synchronize()
            if stage + 1 < count:
                to, key = stages + (stage_bytes - slot), (stage + 1) * stage_keys
                copy_keys(thread, to, mine_k, key, keys, 2 * k_row, size)
                copy_keys(thread, to + tile_bytes, mine_v, key, keys, 2 * v_row, size)
            commit_copies()
            key = stage * stage_keys
            at_keys, at_values = stages + slot + in_keys, stages + slot + in_values
            before = key + column
            if is_masked:
                state = see_some(
                    state, mine, at_keys, at_values, unit, limit0 - before, limit1 - before,
                    inverse, mask0 + 4 * key, mask1 + 4 * key,
                )  # fmt: skip
            elif key + stage_keys <= all_seen:
                state = see_all(state, mine, at_keys, at_values, unit, 0, 0)
            else:
                state = see_some(
                    state, mine, at_keys, at_values, unit, limit0 - before, limit1 - before
                )
            slot = stage_bytes - slot
        sums = end(state)
        wait_all()
        synchronize()
        keep(sums, start + (warp * 16 + (lane >> 2)) * pitch + 4 * column)
        synchronize()
        to = y + y_size * (b * y_batch + head * y_head)
        finish(thread, start, to, first, 0, queries, width, y_size * y_row, 0, (0,))

    return kernel


@cuda_factory
def warp_attention(element: str, result: str, head: int, rows: int, is_masked: int) -> Body:
    """Attention of heads of at most so many elements, 64 or 128."""
    tile = AttentionTile(element, result, head, rows, is_masked=bool(is_masked))  # type: ignore[arg-type]

    def launch(f: Fields, limits: Limits) -> Launch:
        blocks = -(-f["queries"] // tile.rows) * f["batch"]
        return Launch((blocks, f["heads"] * f["group"], 1), (tile.threads, 1, 1))

    bounds = Bounds(tile.threads, 1, tile.shared_bytes)
    return Body(attention_function(tile), launch, None, bounds)
