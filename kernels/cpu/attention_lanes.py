"""Attention of as many queries as a vector has lanes, over blocks of keys.

Scores are transposed: a row is a key, a lane a query. So the keys and values are read where they
lie, maxima and sums over keys need no exchange between lanes, and both products are the tile's.
"""

from __future__ import annotations

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
    store_i64,
    vload,
    vload_i32,
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
    exponentials,
    highest,
    padded,
    scale_lanes,
)
from .panel import run_tiles
from .rows import zero_floats
from .tile import FIRST, LAST, TILE, TILE_WORDS

_F = np.float32
_transpose = transpose_block(4)
_VECTOR = LANES * 4  # bytes


@njit
def to_lanes(rows: Pointer, stride: int, columns: Pointer, count: int) -> None:
    """Transpose LANES rows, ``stride`` elements apart, of whole vectors that hold ``count``."""
    for i in range(0, count, LANES):
        _transpose(rows + i * 4, stride * 4, columns + i * _VECTOR, _VECTOR)


@njit
def from_lanes(columns: Pointer, rows: Pointer, stride: int, count: int) -> None:
    """Invert `to_lanes`."""
    for i in range(0, count, LANES):
        _transpose(columns + i * _VECTOR, _VECTOR, rows + i * 4, stride * 4)


# --- products ---------------------------------------------------------------------------------


@njit
def start_words(words: Pointer) -> None:
    """Set the words of a tile that all products share."""
    for word in range(TILE_WORDS):
        store_i64(words, word, 0)
    store_i64(words, TILE.ldc, LANES)
    store_i64(words, TILE.n, LANES)
    store_i64(words, TILE.s0, 1)


@njit
def products_with_keys(
    words: Pointer, tiles: Pointer, mr: int, k: Pointer, k_row: int, q: Pointer, s: Pointer,
    keys: int, size: int,
) -> None:  # fmt: skip
    """Write ``s[t, lane] = sum over i of k[t, i] * q[i, lane]``."""
    store_i64(words, TILE.lda, k_row)
    store_i64(words, TILE.s1, 1)
    store_i64(words, TILE.sa1, 0)
    store_i64(words, TILE.length, size)
    store_i64(words, TILE.b, q)
    store_i64(words, TILE.ahead, q)
    store_i64(words, TILE.flags, FIRST | LAST)
    run_tiles(tiles, words, k, s, 0, keys, 1, mr, 4)


@njit
def add_values(
    words: Pointer, tiles: Pointer, mr: int, v: Pointer, v_row: int, p: Pointer, o: Pointer,
    keys: int, width: int, begins: bool,
) -> None:  # fmt: skip
    """Add to ``o[j, lane]`` the sum over t of ``v[t, j] * p[t, lane]``."""
    store_i64(words, TILE.lda, 1)
    store_i64(words, TILE.s1, keys)
    store_i64(words, TILE.sa1, v_row)
    store_i64(words, TILE.length, 1)
    store_i64(words, TILE.b, p)
    store_i64(words, TILE.ahead, p)
    store_i64(words, TILE.flags, (FIRST if begins else 0) | LAST)
    run_tiles(tiles, words, v, o, 0, width, 1, mr, 4)


# --- scores -----------------------------------------------------------------------------------


@njit
def add_to_keys(s: Pointer, bias: Pointer, keys: int) -> None:
    """Add a number to all queries of a key."""
    for t in range(keys):
        vstore(s, t * LANES, vload(s, t * LANES) + splat(load_f32(bias, t)))


@njit
def limit_keys(s: Pointer, keys: int, at: int, limits: Pointer) -> None:
    """Mask keys, of which the first is number ``at``, outside of each query's limits."""
    first, last = vload_i32(limits, 0), vload_i32(limits, LANES)
    for t in range(keys):
        number = splat_i32(np.int32(at + t))
        kept = (first <= number) & (number <= last)
        vstore(s, t * LANES, select(kept, vload(s, t * LANES), c(-np.inf)))


@njit
def _is_even(job: Attention, item: Item) -> bool:
    """Tell whether all lanes have queries of one head, so that rows are evenly apart."""
    return item.rows == LANES and item.first % job.queries + LANES <= job.queries


@njit
def _add_mask(job: Attention, item: Item, room: Room, t: int, n: int) -> None:
    """Add the mask's numbers for keys ``t`` to ``t + n``."""
    given = max(0, min(n, job.mask_keys - t))
    last = mask_row(job, item, item.first + item.rows - 1)
    first = mask_row(job, item, item.first)
    same = first == last and (job.mask_row == 0 or job.queries == 1)
    if same:
        add_to_keys(room.s, first + t * 4, given)
        return
    if _is_even(job, item) and given % LANES == 0:
        to_lanes(first + t * 4, job.mask_row, room.bias, given)
    else:
        for lane in range(LANES):
            row = item.first + min(lane, item.rows - 1)
            copy_row(mask_row(job, item, row) + t * 4, room.rows + lane * KEYS * 4, given)
        to_lanes(room.rows, KEYS, room.bias, given)
    add_to_scores(room.s, room.bias, given * LANES)


@njit
def _store_scores(job: Attention, item: Item, room: Room, t: int, n: int) -> None:
    from_lanes(room.s, room.rows, KEYS, n)
    for lane in range(item.rows):
        out = score_row(job, item, item.first + lane)
        copy_out(room.rows + lane * KEYS * 4, out + t * 4, n)


@njit
def _scores(
    job: Attention, item: Item, room: Room, words: Pointer, tiles: Pointer, mr: int,
    t: int, n: int, all_from: int, all_until: int,
) -> None:  # fmt: skip
    """Scores of keys ``t`` to ``t + n`` after all masks."""
    k = item.k + t * job.k_row * 4
    products_with_keys(words, tiles, mr, k, job.k_row, room.q, room.s, n, job.size)
    if job.scores != 0 and job.mode == RAW:
        _store_scores(job, item, room, t, n)
    if job.cap > 0:
        cap_scores(room.s, n * LANES, _F(job.cap))
    if job.scores != 0 and job.mode == CAPPED:
        _store_scores(job, item, room, t, n)
    if job.mask != 0:
        _add_mask(job, item, room, t, n)
    if t < all_from or t + n > all_until:
        limit_keys(room.s, n, t, room.limits)
    if job.scores != 0 and job.mode >= MASKED:
        _store_scores(job, item, room, t, n)


# --- rows -------------------------------------------------------------------------------------


@njit
def _load_queries(job: Attention, item: Item, room: Room) -> None:
    """Queries of an item, scaled, in lanes; lanes without a query have another one's."""
    stride = padded(job.size)
    is_even = _is_even(job, item) and job.size % LANES == 0
    for lane in range(LANES):
        row = item.first + min(lane, item.rows - 1)
        if not is_even:
            copy_row(query_row(job, item, row), room.rows + lane * stride * 4, job.size)
        first, last = key_limits(job, item, row)
        store_i32(room.limits, lane, np.int32(first))
        store_i32(room.limits, LANES + lane, np.int32(last))
    if is_even:
        to_lanes(query_row(job, item, item.first), job.q_row, room.q, job.size)
    else:
        to_lanes(room.rows, stride, room.q, job.size)
    scale_lanes(room.q, stride * LANES, splat(_F(job.scale)))


@njit
def _store_rows(job: Attention, item: Item, room: Room) -> None:
    stride = padded(job.width)
    from_lanes(room.o, room.rows, stride, job.width)
    for lane in range(item.rows):
        target = result_row(job, item, item.first + lane)
        copy_out(room.rows + lane * stride * 4, target, job.width)


@njit
def rows_in_lanes(
    job: Attention, item: Item, room: Room, words: Pointer, tiles: Pointer, mr: int
) -> None:
    """Compute the rows of an item."""
    _load_queries(job, item, room)
    begin, end, all_from, all_until = key_range(job, item)
    top, total, t = c(-np.inf), c(0.0), begin
    while t < end:
        n = min(KEYS, end - t)
        _scores(job, item, room, words, tiles, mr, t, n, all_from, all_until)
        raised = highest(room.s, n * LANES, top)
        shift = shift_of(raised)
        factor = vmath.exp_below_one(top - shift)
        total = total * factor + exponentials(room.s, n * LANES, shift)
        if t > begin:
            scale_lanes(room.o, job.width * LANES, factor)
        v = item.v + t * job.v_row * 4
        add_values(words, tiles, mr, v, job.v_row, room.s, room.o, n, job.width, t == begin)
        top, t = raised, t + n
    if end <= begin:
        zero_floats(room.o, padded(job.width) * LANES)
    inverse = inverse_of(total, job.zeros)
    scale_lanes(room.o, job.width * LANES, inverse)
    if _is_even(job, item) and job.width % LANES == 0:
        from_lanes(room.o, result_row(job, item, item.first), job.y_row, job.width)
    else:
        _store_rows(job, item, room)
    if job.scores != 0 and job.mode == SHARES:
        vstore(room.state, 0, shift_of(top))
        vstore(room.state, LANES, inverse)
        for lane in range(item.rows):
            highest_score, factor_of_row = (
                splat(load_f32(room.state, lane)),
                splat(load_f32(room.state, LANES + lane)),
            )
            out = score_row(job, item, item.first + lane)
            make_shares(out, job.keys, highest_score, factor_of_row, room.s)
