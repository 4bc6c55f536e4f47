"""Attention that never stores its scores: softmax on the way, over blocks of keys.

Each query keeps the highest score so far, the sum of exponentials below it, and the sum of values
weighted by them; a block that raises the highest score scales both sums (Milakov and Gimelshein,
2018; Dao et al., 2022). Queries of heads that share keys and values are more rows of one product.

An item of work is up to two vectors of rows of queries. Their scores are computed in lanes
(`attention_lanes`), or row by row where there are few (`attention_row`), as when a model decodes.

Rows of keys and values that lie apart, as those of heads side by side do, are not fetched ahead by
processors, and compete for few sets of a cache. Each item reads all of them, so where queries are
many a thread copies those of its head first; for AMX it splits them (`term_attention`).
"""

from __future__ import annotations

from numba import njit

from ..registry import Pointer, kernel
from ..simd import stack_words
from ..target import LANES
from . import attention_products
from .attention_job import MANY_QUERIES, WIDE, Attention, Item, count_items, head_of, room_of
from .attention_lanes import make_rows_in_lanes
from .attention_products import Products
from .attention_row import FEW, few_rows
from .rows import copy_floats
from .tile import TILE_WORDS

_rows_in_lanes = make_rows_in_lanes(
    attention_products.start, attention_products.multiply_keys,
    attention_products.take_exponentials, attention_products.add_values, 1,
)  # fmt: skip


@njit
def _copy_rows(source: Pointer, apart: int, target: Pointer, rows: int, count: int) -> None:
    """Copy rows of ``count`` floats that lie ``apart`` elements apart side by side."""
    for i in range(rows):
        copy_floats(source + i * apart * 4, target + i * count * 4, count)


@kernel
def attention(
    thread: int, part: int, until: int, parts: int, job: Attention, tiles: Pointer, mr: int,
    wide_tiles: Pointer, wide_mr: int, scratch: Pointer, scratch_bytes: int, dense_at: int,
    dense_keys: int,
) -> int:  # fmt: skip
    """Compute attention; items are split into parts.

    ``dense_at`` bytes from the beginning of a thread's scratch memory there is room for the keys
    and values of a head, ``dense_keys`` of each.
    """
    room = room_of(scratch + thread * scratch_bytes, job.size, job.width)
    words = stack_words(TILE_WORDS)
    rows = job.group * job.queries
    items, blocks = count_items(job)
    are_copied = rows >= MANY_QUERIES and job.keys <= dense_keys
    own_k, copied = scratch + thread * scratch_bytes + dense_at, -1
    own_v = own_k + job.keys * job.size * 4
    for index in range(items * part // parts, items * until // parts):
        row = index % blocks * WIDE
        head = head_of(job, index // blocks)
        if head.keys < 0:
            return -head.keys
        k, k_row, v, v_row = head.k, job.k_row, head.v, job.v_row
        if are_copied:
            if copied != index // blocks:
                _copy_rows(k, k_row, own_k, job.keys, job.size)
                _copy_rows(v, v_row, own_v, job.keys, job.width)
                copied = index // blocks
            k, k_row, v, v_row = own_k, job.size, own_v, job.width
        end = min(row + WIDE, rows)
        while row < end:
            count = end - row
            count = LANES if LANES < count <= LANES + FEW else count
            item = Item(head.b, head.head, row, count, head.at, head.keys, k, k_row, v, v_row)
            if count > LANES:
                _rows_in_lanes(job, item, room, Products(words, wide_tiles, wide_mr, 2))
            elif count > FEW:
                _rows_in_lanes(job, item, room, Products(words, tiles, mr, 1))
            else:
                few_rows(job, item, room)
            row += count
    return 0
