"""Attention that never stores its scores: softmax on the way, over blocks of keys.

Each query keeps the highest score so far, the sum of exponentials below it, and the sum of values
weighted by them; a block that raises the highest score scales both sums (Milakov and Gimelshein,
2018; Dao et al., 2022). Queries of heads that share keys and values are more rows of one product.

An item of work is up to two vectors of rows of queries. Their scores are computed in lanes
(`attention_lanes`), or row by row where there are few (`attention_row`), as when a model decodes.
"""

from __future__ import annotations

from ..registry import INDEX_OUT_OF_RANGE, Pointer, kernel
from ..simd import load_i64, stack_words
from ..target import LANES
from .attention_job import WIDE, Attention, Item, room_of
from .attention_lanes import Products, rows_in_lanes
from .attention_row import FEW, few_rows
from .tile import TILE_WORDS


@kernel
def attention(
    thread: int, part: int, until: int, parts: int, job: Attention, tiles: Pointer, mr: int,
    wide_tiles: Pointer, wide_mr: int, scratch: Pointer, scratch_bytes: int,
) -> int:  # fmt: skip
    """Compute attention; items are split into parts."""
    room = room_of(scratch + thread * scratch_bytes, job.size, job.width)
    words = stack_words(TILE_WORDS)
    rows = job.group * job.queries
    blocks = (rows + WIDE - 1) // WIDE
    items = job.batch * job.heads * blocks
    for index in range(items * part // parts, items * until // parts):
        row = index % blocks * WIDE
        head = index // blocks % job.heads
        b = index // blocks // job.heads
        keys, at = job.keys, job.past
        if job.lengths != 0:
            keys = load_i64(job.lengths, b)
            if keys < 0 or keys > job.keys:
                return INDEX_OUT_OF_RANGE
            at = keys - job.queries
        if job.mask != 0:
            keys = min(keys, job.mask_keys)
        k = job.k + (b * job.k_batch + head * job.k_head) * 4
        v = job.v + (b * job.v_batch + head * job.v_head) * 4
        end = min(row + WIDE, rows)
        while row < end:
            count = end - row
            count = LANES if LANES < count <= LANES + FEW else count
            item = Item(b, head, row, count, at, keys, k, v)
            if count > LANES:
                rows_in_lanes(job, item, room, Products(words, wide_tiles, wide_mr, 2))
            elif count > FEW:
                rows_in_lanes(job, item, room, Products(words, tiles, mr, 1))
            else:
                few_rows(job, item, room)
            row += count
    return 0
