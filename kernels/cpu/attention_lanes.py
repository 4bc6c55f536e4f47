"""Attention of one or two vectors of queries, over blocks of keys.

Scores are transposed: a row is a key, a lane a query. So the keys and values are read where they
lie, maxima and sums over keys need no exchange between lanes. Both products are those of vectors
(`attention_products`) or of AMX (`attention_terms`).

Functions are inlined, once for either number of vectors: a job is some forty words, which each call
would copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer
from ..shuffle import transpose_block
from ..simd import (
    load_f32,
    select,
    splat,
    splat_i32,
    store_i32,
    vload,
    vload_i32,
    vmax,
    vstore,
)
from ..target import LANES
from ..vmath import c
from .attention_job import (
    CAPPED,
    KEYS,
    MASKED,
    RAW,
    SHARES,
    WIDE,
    Attention,
    Item,
    Room,
    inverse_of,
    key_limits,
    key_range,
    make_shares,
    mask_row,
    query_row,
    result_row,
    score_row,
    shift_of,
)
from .attention_scores import (
    add_to_scores,
    cap_scores,
    copy_out,
    copy_row,
    highest,
    padded,
    scale_lanes,
)
from .rows import zero_floats

_F = np.float32
_transpose = transpose_block(4)


@njit(forceinline=True)
def to_lanes(rows: Pointer, stride: int, columns: Pointer, line: int, count: int) -> None:
    """Transpose LANES rows, ``stride`` elements apart, of whole vectors that hold ``count``.

    Columns are ``line`` elements apart.
    """
    for i in range(0, count, LANES):
        _transpose(rows + i * 4, stride * 4, columns + i * line * 4, line * 4)


@njit(forceinline=True)
def from_lanes(columns: Pointer, line: int, rows: Pointer, stride: int, count: int) -> None:
    """Invert `to_lanes`."""
    for i in range(0, count, LANES):
        _transpose(columns + i * line * 4, line * 4, rows + i * 4, stride * 4)


# --- scores -----------------------------------------------------------------------------------


@njit(forceinline=True)
def add_to_keys(s: Pointer, line: int, bias: Pointer, keys: int) -> None:
    """Add a number to all queries of a key."""
    for t in range(keys):
        number = splat(load_f32(bias, t))
        for i in range(t * line, (t + 1) * line, LANES):
            vstore(s, i, vload(s, i) + number)


@njit(forceinline=True)
def limit_keys(s: Pointer, line: int, keys: int, at: int, limits: Pointer) -> None:
    """Mask keys, of which the first is number ``at``, outside of each query's limits."""
    for i in range(0, line, LANES):
        first, last = vload_i32(limits, i), vload_i32(limits, WIDE + i)
        for t in range(keys):
            number = splat_i32(np.int32(at + t))
            kept = (first <= number) & (number <= last)
            vstore(s, t * line + i, select(kept, vload(s, t * line + i), c(-np.inf)))


@njit(forceinline=True)
def _is_even(job: Attention, item: Item, first: int) -> bool:
    """Tell whether the lanes of a vector have queries of one head, with rows evenly apart."""
    inside = first + LANES <= item.rows
    return inside and (item.first + first) % job.queries + LANES <= job.queries


@njit(forceinline=True)
def _row_of(item: Item, lane: int) -> int:
    """Row of a lane; lanes without one have the last."""
    return item.first + min(lane, item.rows - 1)


@njit(forceinline=True)
def _add_mask(job: Attention, item: Item, room: Room, line: int, t: int, n: int) -> None:
    """Add the mask's numbers for keys ``t`` to ``t + n``."""
    given = max(0, min(n, job.mask_keys - t))
    last = mask_row(job, item, item.first + item.rows - 1)
    begin = mask_row(job, item, item.first)
    if begin == last and (job.mask_row == 0 or job.queries == 1):
        add_to_keys(room.s, line, begin + t * 4, given)
        return
    for first in range(0, line, LANES):
        columns = room.bias + first * 4
        if _is_even(job, item, first) and given % LANES == 0:
            source = mask_row(job, item, item.first + first)
            to_lanes(source + t * 4, job.mask_row, columns, line, given)
            continue
        for lane in range(LANES):
            source = mask_row(job, item, _row_of(item, first + lane))
            copy_row(source + t * 4, room.rows + lane * KEYS * 4, given)
        to_lanes(room.rows, KEYS, columns, line, given)
    add_to_scores(room.s, room.bias, given * line)


@njit(forceinline=True)
def _mask_ahead(job: Attention, item: Item, line: int, t: int) -> Pointer:
    """Mask of the queries after an item's, of which a block of keys prefetches its share."""
    if job.mask == 0 or job.mask_row != job.mask_keys:
        return 0
    return mask_row(job, item, item.first) + line * (job.mask_row + t) * 4


@njit(forceinline=True)
def _store_scores(job: Attention, item: Item, room: Room, line: int, t: int, n: int) -> None:
    for first in range(0, line, LANES):
        from_lanes(room.s + first * 4, line, room.rows, KEYS, n)
        for lane in range(min(LANES, item.rows - first)):
            out = score_row(job, item, item.first + first + lane)
            copy_out(room.rows + lane * KEYS * 4, out + t * 4, n)


# --- rows -------------------------------------------------------------------------------------


@njit(forceinline=True)
def _load_queries(job: Attention, item: Item, room: Room, line: int) -> None:
    """Queries of an item, scaled, in lanes; lanes without a query have another one's."""
    stride = padded(job.size)
    for first in range(0, line, LANES):
        is_even = _is_even(job, item, first) and job.size % LANES == 0
        for lane in range(LANES):
            row = _row_of(item, first + lane)
            if not is_even:
                copy_row(query_row(job, item, row), room.rows + lane * stride * 4, job.size)
            begin, end = key_limits(job, item, row)
            store_i32(room.limits, first + lane, np.int32(begin))
            store_i32(room.limits, WIDE + first + lane, np.int32(end))
        if is_even:
            source = query_row(job, item, item.first + first)
            to_lanes(source, job.q_row, room.q + first * 4, line, job.size)
        else:
            to_lanes(room.rows, stride, room.q + first * 4, line, job.size)
    scale = splat(_F(job.scale))
    scale_lanes(room.q, stride * line, scale, scale)


@njit(forceinline=True)
def _store_rows(job: Attention, item: Item, room: Room, line: int) -> None:
    stride = padded(job.width)
    for first in range(0, line, LANES):
        columns = room.o + first * 4
        if _is_even(job, item, first) and job.width % LANES == 0:
            target = result_row(job, item, item.first + first)
            from_lanes(columns, line, target, job.y_row, job.width)
            continue
        from_lanes(columns, line, room.rows, stride, job.width)
        for lane in range(min(LANES, item.rows - first)):
            target = result_row(job, item, item.first + first + lane)
            copy_out(room.rows + lane * stride * 4, target, job.width)


@njit(forceinline=True)
def _make_shares(job: Attention, item: Item, room: Room) -> None:
    """Turn the scores that are asked for into shares; the state has highest scores and factors."""
    for lane in range(item.rows):
        top, factor = load_f32(room.state, lane), load_f32(room.state, WIDE + lane)
        out = score_row(job, item, item.first + lane)
        make_shares(out, job.keys, splat(top), splat(factor), room.s)


def make_rows_in_lanes(
    start: Any, multiply_keys: Any, take_exponentials: Any, add_values: Any, unit: int
) -> Any:  # fmt: skip
    """Make what computes the rows of an item, with the functions of `attention_products`.

    Blocks of keys begin with a multiple of ``unit``.
    """

    @njit(forceinline=True)
    def scores(
        job: Attention, item: Item, room: Room, products: Any, t: int, n: int, all_from: int,
        all_until: int,
    ) -> None:  # fmt: skip
        """Scores of keys ``t`` to ``t + n`` after all masks."""
        line = products.vectors * LANES
        multiply_keys(products, job, item, room, t, n, _mask_ahead(job, item, line, t))
        if job.scores != 0 and job.mode == RAW:
            _store_scores(job, item, room, line, t, n)
        if job.cap > 0:
            cap_scores(room.s, n * line, _F(job.cap))
        if job.scores != 0 and job.mode == CAPPED:
            _store_scores(job, item, room, line, t, n)
        if job.mask != 0:
            _add_mask(job, item, room, line, t, n)
        if t < all_from or t + n > all_until:
            limit_keys(room.s, line, n, t, room.limits)
        if job.scores != 0 and job.mode >= MASKED:
            _store_scores(job, item, room, line, t, n)

    @njit(forceinline=True)
    def rows_in_lanes(job: Attention, item: Item, room: Room, products: Any) -> None:
        """Compute the rows of an item.

        Of two vectors of queries each has its highest scores and sums; a single one takes two keys
        at a time.
        """
        single = products.vectors == 1
        line = products.vectors * LANES
        _load_queries(job, item, room, line)
        start(products, job, room)
        begin, end, all_from, all_until = key_range(job, item)
        top_a, top_b, total_a, total_b = c(-np.inf), c(-np.inf), c(0.0), c(0.0)
        t = begin = begin // unit * unit
        while t < end:
            n = min(KEYS, end - t)
            scores(job, item, room, products, t, n, all_from, all_until)
            a, b = highest(room.s, n * line, top_a, top_b)
            if single:
                a = b = vmax(a, b)
            shift_a, shift_b = shift_of(a), shift_of(b)
            factor_a = vmath.exp_below_one(top_a - shift_a)
            factor_b = vmath.exp_below_one(top_b - shift_b)
            sum_a, sum_b = take_exponentials(products, room, n, shift_a, shift_b)
            total_a, total_b = total_a * factor_a + sum_a, total_b * factor_b + sum_b
            if t > begin:
                scale_lanes(room.o, job.width * line, factor_a, factor_b)
            add_values(products, job, item, room, t, n, t == begin)
            top_a, top_b, t = a, b, t + n
        if end <= begin:
            zero_floats(room.o, padded(job.width) * line)
        if single:
            total_a = total_b = total_a + total_b
        inverse_a, inverse_b = inverse_of(total_a, job.zeros), inverse_of(total_b, job.zeros)
        scale_lanes(room.o, job.width * line, inverse_a, inverse_b)
        _store_rows(job, item, room, line)
        if job.scores != 0 and job.mode == SHARES:
            vstore(room.state, 0, shift_of(top_a))
            vstore(room.state, LANES, shift_of(top_b))
            vstore(room.state, WIDE, inverse_a)
            vstore(room.state, WIDE + LANES, inverse_b)
            _make_shares(job, item, room)

    return rows_in_lanes
