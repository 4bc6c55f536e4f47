"""What attention is asked to compute, and where its rows are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..amx import ROWS
from ..registry import Pointer
from ..simd import load_i64, select
from ..target import LANES
from ..vmath import c
from .attention_scores import copy_out, copy_row, exponentials, padded, scale_lanes
from .indices import out_of_range

KEYS = 128
"""Keys of a block, whose scores for an item's queries stay in the first cache."""
WIDE = 2 * LANES
"""Most queries of an item: two vectors."""
MANY_QUERIES, DENSE_KEYS = 256, 4096
"""Queries from which on keys and values of a head, up to so many, are copied side by side."""
RAW, CAPPED, MASKED, SHARES = range(4)
"""What the scores that are asked for went through."""


class Attention(NamedTuple):
    """Operands of attention; strides in elements, elements of a row are dense.

    ``heads`` are those of keys and values, each for ``group`` heads of queries. ``mask`` (0: none)
    is added to the scores; keys from ``mask_keys`` on are masked. Query i stands at the key number
    ``past + i``, or ``lengths[batch] - queries + i`` where ``lengths`` (int64) is given, whose keys
    from that length on are masked, too; it sees keys from ``left`` before to ``right`` after this
    one. With ``zeros`` the result of queries that see nothing is 0, else NaN. ``scores`` (0: not
    wanted) are written as ``mode`` says, dense.
    """

    batch: int
    heads: int
    group: int
    queries: int
    keys: int
    size: int
    width: int
    q: Pointer
    q_batch: int
    q_head: int
    q_row: int
    k: Pointer
    k_batch: int
    k_head: int
    k_row: int
    v: Pointer
    v_batch: int
    v_head: int
    v_row: int
    y: Pointer
    y_batch: int
    y_head: int
    y_row: int
    mask: Pointer
    mask_batch: int
    mask_head: int
    mask_row: int
    mask_keys: int
    lengths: Pointer
    past: int
    left: int
    right: int
    zeros: int
    scores: Pointer
    mode: int
    scale: float
    cap: float


class Item(NamedTuple):
    """Rows ``first`` to ``first + rows`` of the queries that share keys and values.

    ``at`` is the key number of query 0, ``keys`` how many there are for this batch; their rows, and
    those of values, are ``k_row`` and ``v_row`` elements apart.
    """

    b: int
    head: int
    first: int
    rows: int
    at: int
    keys: int
    k: Pointer
    k_row: int
    v: Pointer
    v_row: int


class Head(NamedTuple):
    """Keys and values of a head, of which ``keys`` count; query 0 stands at the key ``at``."""

    b: int
    head: int
    at: int
    keys: int
    k: Pointer
    v: Pointer


class Room(NamedTuple):
    """Memory of a thread: queries, scores, mask, weighted values, rows, limits and states."""

    q: Pointer
    s: Pointer
    bias: Pointer
    o: Pointer
    rows: Pointer
    limits: Pointer
    state: Pointer


def room_floats(size: Any, width: Any, longest: Any) -> Any:
    """Elements of a thread's memory; ``longest`` is the largest of size, width and KEYS."""
    return (size + width + ROWS + 4 + 2 * KEYS) * WIDE + longest * LANES


@njit
def room_of(memory: Pointer, size: int, width: int) -> Any:
    """Divide a thread's memory, of `room_floats`."""
    line = WIDE * 4
    q = memory
    s = q + padded(size) * line
    bias = s + KEYS * line
    o = bias + KEYS * line
    limits = o + (width + ROWS - 1) // ROWS * ROWS * line
    state = limits + 2 * line
    return Room(q, s, bias, o, state + 2 * line, limits, state)


@njit
def head_of(job: Attention, index: int, itemsize: int = 4) -> Head:
    """Return a head of the whole batch; of an impossible length its keys are minus an error code.

    Elements of keys and values have ``itemsize`` bytes.
    """
    head, b = index % job.heads, index // job.heads
    keys, at = job.keys, job.past
    if job.lengths != 0:
        keys = load_i64(job.lengths, b)
        at = keys - job.queries
        if keys < 0 or keys > job.keys:
            return Head(b, head, at, -out_of_range(keys), job.k, job.v)
    if job.mask != 0:
        keys = min(keys, job.mask_keys)
    k = job.k + (b * job.k_batch + head * job.k_head) * itemsize
    v = job.v + (b * job.v_batch + head * job.v_head) * itemsize
    return Head(b, head, at, keys, k, v)


@njit
def count_items(job: Attention) -> Any:
    """Items of a job, and those of each head: blocks of up to `WIDE` queries of its group."""
    blocks = (job.group * job.queries + WIDE - 1) // WIDE
    return job.batch * job.heads * blocks, blocks


@njit(forceinline=True)
def item_of(job: Attention, head: Head, block: int) -> Item:
    """Return an item of a head, with keys and values where they are."""
    first = block * WIDE
    rows = min(WIDE, job.group * job.queries - first)
    return Item(
        head.b, head.head, first, rows, head.at, head.keys, head.k, job.k_row, head.v, job.v_row
    )


@njit(forceinline=True)
def _address(
    base: Pointer, item: Item, job: Attention, row: int, b: int, head: int, i: int,
    itemsize: int = 4,
) -> Any:  # fmt: skip
    """Address of a row of a tensor that has strides ``b``, ``head`` and ``i`` over queries."""
    g, query = row // job.queries, row % job.queries
    return base + (item.b * b + (item.head * job.group + g) * head + query * i) * itemsize


@njit(forceinline=True)
def query_row(job: Attention, item: Item, row: int, itemsize: int = 4) -> Any:
    """Address of a row of the queries."""
    return _address(job.q, item, job, row, job.q_batch, job.q_head, job.q_row, itemsize)


@njit(forceinline=True)
def result_row(job: Attention, item: Item, row: int, itemsize: int = 4) -> Any:
    """Address of a row of the result."""
    return _address(job.y, item, job, row, job.y_batch, job.y_head, job.y_row, itemsize)


@njit(forceinline=True)
def mask_row(job: Attention, item: Item, row: int) -> Any:
    """Address of a row of the mask."""
    return _address(job.mask, item, job, row, job.mask_batch, job.mask_head, job.mask_row)


@njit(forceinline=True)
def score_row(job: Attention, item: Item, row: int) -> Any:
    """Address of a row of the scores that are asked for."""
    head = job.queries * job.keys
    every = job.heads * job.group * head
    return _address(job.scores, item, job, row, every, head, job.keys)


@njit(forceinline=True)
def key_limits(job: Attention, item: Item, row: int) -> Any:
    """Numbers of the first key that a row sees, and of the last."""
    at = item.at + row % job.queries
    return max(at - job.left, 0), min(at + job.right, item.keys - 1)


@njit
def key_range(job: Attention, item: Item) -> Any:
    """Keys that some row of an item sees, and those that all do: two beginnings, two ends."""
    begin, first = item.keys, 0
    end, last = 0, item.keys
    for row in range(item.first, item.first + item.rows):
        a, b = key_limits(job, item, row)
        begin, first = min(begin, a), max(first, a)
        end, last = max(end, b + 1), min(last, b + 1)
    if job.scores != 0:
        return 0, job.keys, first, last
    return begin, end, first, last


@njit
def inverse_of(total: Any, zeros: int) -> Any:
    """1 / total; where nothing was seen, 0 if it should be."""
    inverse = c(1.0) / total
    return select(total == c(0.0), c(0.0), inverse) if zeros else inverse


@njit
def shift_of(top: Any) -> Any:
    """What is subtracted from scores of which ``top`` is the highest: 0 where all are -inf."""
    return select(top == c(-np.inf), c(0.0), top)


@njit
def make_shares(scores: Pointer, keys: int, top: Any, factor: Any, s: Pointer) -> None:
    """Replace a row of masked scores by its softmax."""
    for t in range(0, keys, KEYS):
        n = min(KEYS, keys - t)
        copy_row(scores + t * 4, s, n)
        exponentials(s, padded(n), top, top)
        scale_lanes(s, padded(n), factor, factor)
        copy_out(s, scores + t * 4, n)
