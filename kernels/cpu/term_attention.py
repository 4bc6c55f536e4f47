"""Attention by AMX, whose products are of bfloat16 terms (`attention_terms`).

Loops, softmax and masks are those of `attention`. A thread splits keys and values of a head when it
comes to its first item.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..amx import ROWS, STATE_WORDS, release
from ..bfloat_terms import BLOCK, blocks_of, count_blocks
from ..registry import Pointer, kernel_factory
from ..scratch import scratch
from .attention_job import Attention, count_items, head_of, item_of, room_of
from .attention_lanes import make_rows_in_lanes
from .attention_row import FEW, few_rows
from .attention_terms import (
    TermProducts,
    block_bytes,
    make_products,
    make_split_keys,
    make_split_values,
    query_bytes,
    weight_bytes,
)
from .tile_block import configure_block


def terms_bytes(score_terms: int, value_terms: int, size: Any, width: Any, keys: Any) -> Any:
    """Bytes of the terms of an item, and of the keys and values of a head."""
    own = query_bytes(score_terms, size) + weight_bytes(value_terms)
    k, v = block_bytes(score_terms, value_terms, size, width)
    return own + blocks_of(keys) * (k + v)


@kernel_factory
def term_attention(score_terms: int, value_terms: int) -> Callable[..., int]:
    """Build attention with so many terms of scores' factors, and of values and their weights."""
    bytes_of_queries, bytes_of_blocks = njit(query_bytes), njit(block_bytes)
    weights = weight_bytes(value_terms)
    split_keys, split_values = make_split_keys(score_terms), make_split_values(value_terms)
    rows_in_lanes = make_rows_in_lanes(*make_products(score_terms, value_terms), BLOCK)

    def body(
        thread: int, part: int, until: int, parts: int, job: Attention, workspace: Pointer,
        workspace_bytes: int, terms_at: int,
    ) -> int:  # fmt: skip
        """Compute attention; items are split into parts.

        Terms are ``terms_at`` bytes from the beginning of a thread's workspace.
        """
        own = workspace + thread * workspace_bytes
        room = room_of(own, job.size, job.width)
        items, blocks = count_items(job)
        state = scratch(STATE_WORDS)
        q = own + terms_at
        p = q + bytes_of_queries(score_terms, job.size)
        k = p + weights
        each, _ = bytes_of_blocks(score_terms, value_terms, job.size, job.width)
        v = k + count_blocks(job.keys) * each
        products, split, error = TermProducts(state, q, p, k, v, 2), -1, 0
        configure_block(state, ROWS)
        for index in range(items * part // parts, items * until // parts):
            head = head_of(job, index // blocks)
            if head.keys < 0:
                error = -head.keys
                break
            if split != index // blocks:
                split_keys(head.k, job.k_row, k, head.keys, job.size)
                split_values(head.v, job.v_row, v, head.keys, job.width)
                split = index // blocks
            item = item_of(job, head, index % blocks)
            if item.rows > FEW:
                rows_in_lanes(job, item, room, products)
            else:
                few_rows(job, item, room)
        release(state)
        return error

    return body
