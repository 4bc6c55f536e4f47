"""Attention by `mma.sync`: blocks of queries of a head, which go through the keys that they see.

Heads of the queries may share those of keys and values (grouped heads). Tiles of keys and values
come through two stages: while one is multiplied, the next is copied (cp.async).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..basic import (
    block_x,
    block_y,
    block_z,
    commit_copies,
    shared_start,
    synchronize,
    thread_index,
    wait_copies,
)
from ..ptx import DeviceFunction, device
from .epilogue import Epilogue, store_tile
from .swizzle import ROW
from .tile_copies import copy_rows
from .warp_attention import AttentionTile, attend, begin_attention, end_attention, load_queries
from .warp_product import keep_sums

PARAMETERS = (
    *("q", "k", "v", "y", "queries", "keys", "head", "sharing", "past", "scale"),
    *("q_row", "k_row", "v_row", "y_row", "q_head", "k_head", "v_head", "y_head"),
    *("q_batch", "k_batch", "v_batch", "y_batch", "status"),
)
"""What the kernel takes: addresses; queries, keys and elements of a head; heads of the queries for
each of the keys; keys before the first query's own (causal); scale of scores times log2 e, above 0;
and bytes from row to row, head to head and batch to batch. All are int64 but ``scale``, a float32.
Rows begin at multiples of 16 bytes."""


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
def attention(tile: AttentionTile) -> Callable[..., None]:
    """Return the kernel of a tile: a grid of blocks along queries, heads and the batch."""
    rows, stage_keys, tile_bytes = tile.rows, tile.keys, tile.tile_bytes
    stage_bytes, query_bytes, is_causal = 2 * tile.tile_bytes, tile.query_bytes, tile.is_causal
    copy_queries, copy_keys = _copy_panels(tile, rows), _copy_panels(tile, stage_keys)
    begin, load_rows, end = begin_attention(tile), load_queries(tile), end_attention(tile)
    see_all, see_some, wait_all = attend(tile, False), attend(tile, True), wait_copies(0)
    keep = keep_sums("f32", 16, tile.head, tile.pitch)
    pitch, threads = tile.pitch, tile.threads
    finish = store_tile(rows, tile.head, threads, pitch, tile.result, True, Epilogue())

    def kernel(  # type: ignore[no-untyped-def]
        q, k, v, y, queries, keys, head, sharing, past, scale, q_row, k_row, v_row, y_row,
        q_head, k_head, v_head, y_head, q_batch, k_batch, v_batch, y_batch, status,
    ):  # fmt: skip
        thread, start = thread_index(), shared_start()
        first, group, batch = block_x() * rows, block_y(), block_z()
        shared = group // sharing
        mine_q = q + batch * q_batch + group * q_head
        mine_k = k + batch * k_batch + shared * k_head
        mine_v = v + batch * v_batch + shared * v_head
        lane, warp, stages = thread & 31, thread >> 5, start + query_bytes
        seen = min(keys, past + first + rows) if is_causal else keys
        count = (max(seen, 0) + stage_keys - 1) // stage_keys
        copy_queries(thread, start, mine_q, first, queries, q_row, head)
        if count > 0:
            copy_keys(thread, stages, mine_k, 0, keys, k_row, head)
            copy_keys(thread, stages + tile_bytes, mine_v, 0, keys, v_row, head)
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
        for stage in range(count):
            if stage > 0:
                wait_all()
                synchronize()
            if stage + 1 < count:
                to, key = stages + (stage_bytes - slot), (stage + 1) * stage_keys
                copy_keys(thread, to, mine_k, key, keys, k_row, head)
                copy_keys(thread, to + tile_bytes, mine_v, key, keys, v_row, head)
            commit_copies()
            key = stage * stage_keys
            at_keys, at_values = stages + slot + in_keys, stages + slot + in_values
            all_seen = min(keys, past + first + 1) if is_causal else keys
            if key + stage_keys <= all_seen:
                state = see_all(state, mine, at_keys, at_values, scale, 0, 0)
            else:
                limit0 = min(keys, past + low + 1) if is_causal else keys
                limit1 = min(keys, past + low + 9) if is_causal else keys
                before = key + column
                state = see_some(
                    state, mine, at_keys, at_values, scale, limit0 - before, limit1 - before
                )
            slot = stage_bytes - slot
        sums = end(state)
        wait_all()
        synchronize()
        keep(sums, start + (warp * 16 + (lane >> 2)) * pitch + 4 * column)
        synchronize()
        to = y + batch * y_batch + group * y_head
        finish(thread, start, to, first, 0, queries, head, y_row, 0, (0,))

    return kernel
