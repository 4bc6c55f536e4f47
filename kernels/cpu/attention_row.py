"""Attention of few queries, one by one: keys and values are read once and in order.

That stream from memory is what counts when a model decodes.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer
from ..simd import (
    extract,
    fma,
    load_f32,
    reduce_add,
    reduce_max,
    splat,
    store_f32,
    vload,
    vload_first,
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
from .rows import zero_floats

_F = np.float32
FEW = 4
"""Rows that are computed one by one."""
ROW_KEYS = KEYS // 2
"""Keys of a block for these rows, which take keys and values from the first cache."""


@njit
def row_scores(q: Pointer, k: Pointer, k_row: int, s: Pointer, keys: int, size: int) -> None:
    """Write ``s[t] = sum over i of q[i] * k[t, i]``; q has zeros up to a whole vector."""
    row = k_row * 4
    t = 0
    while t + 4 <= keys:
        at = k + t * row
        a, b, d, e = c(0.0), c(0.0), c(0.0), c(0.0)
        i = 0
        while i + LANES <= size:
            x = vload(q, i)
            a = fma(x, vload(at, i), a)
            b = fma(x, vload(at + row, i), b)
            d = fma(x, vload(at + 2 * row, i), d)
            e = fma(x, vload(at + 3 * row, i), e)
            i += LANES
        if i < size:
            x, n = vload(q, i), size - i
            a = fma(x, vload_first(at, i, n), a)
            b = fma(x, vload_first(at + row, i, n), b)
            d = fma(x, vload_first(at + 2 * row, i, n), d)
            e = fma(x, vload_first(at + 3 * row, i, n), e)
        store_f32(s, t, reduce_add(a))
        store_f32(s, t + 1, reduce_add(b))
        store_f32(s, t + 2, reduce_add(d))
        store_f32(s, t + 3, reduce_add(e))
        t += 4
    while t < keys:
        a = c(0.0)
        for i in range(0, size, LANES):
            a = fma(vload(q, i), vload_first(k + t * row, i, size - i), a)
        store_f32(s, t, reduce_add(a))
        t += 1


@njit
def add_row_values(
    p: Pointer, v: Pointer, v_row: int, o: Pointer, keys: int, width: int
) -> None:  # fmt: skip
    """Add to ``o[j]`` the sum over t of ``p[t] * v[t, j]``; o has room for whole vectors."""
    row = v_row * 4
    j = 0
    while j + 4 * LANES <= width:
        # Two keys at a time: chains of multiply-adds of one would wait for their latency.
        a, b, d, e = (vload(o, j), vload(o, j + LANES), vload(o, j + 2 * LANES),
                      vload(o, j + 3 * LANES))  # fmt: skip
        a2, b2, d2, e2 = c(0.0), c(0.0), c(0.0), c(0.0)
        at, t = v + j * 4, 0
        while t + 2 <= keys:
            x, x2, next_row = splat(load_f32(p, t)), splat(load_f32(p, t + 1)), at + row
            a, a2 = fma(x, vload(at, 0), a), fma(x2, vload(next_row, 0), a2)
            b, b2 = fma(x, vload(at, LANES), b), fma(x2, vload(next_row, LANES), b2)
            d, d2 = fma(x, vload(at, 2 * LANES), d), fma(x2, vload(next_row, 2 * LANES), d2)
            e, e2 = fma(x, vload(at, 3 * LANES), e), fma(x2, vload(next_row, 3 * LANES), e2)
            at, t = next_row + row, t + 2
        if t < keys:
            x = splat(load_f32(p, t))
            a, b = fma(x, vload(at, 0), a), fma(x, vload(at, LANES), b)
            d, e = fma(x, vload(at, 2 * LANES), d), fma(x, vload(at, 3 * LANES), e)
        vstore(o, j, a + a2)
        vstore(o, j + LANES, b + b2)
        vstore(o, j + 2 * LANES, d + d2)
        vstore(o, j + 3 * LANES, e + e2)
        j += 4 * LANES
    while j < width:
        n = width - j
        a, b, t = vload(o, j), c(0.0), 0
        while t + 2 <= keys:
            at = v + t * row
            a = fma(splat(load_f32(p, t)), vload_first(at, j, n), a)
            b = fma(splat(load_f32(p, t + 1)), vload_first(at + row, j, n), b)
            t += 2
        if t < keys:
            a = fma(splat(load_f32(p, t)), vload_first(v + t * row, j, n), a)
        vstore(o, j, a + b)
        j += LANES


@njit
def _mask_keys_of_row(
    job: Attention, item: Item, room: Room, s: Pointer, row: int, t: int, n: int
) -> None:  # fmt: skip
    """Add the mask to a row's scores of keys ``t`` to ``t + n``, and mask what it does not see."""
    if job.mask != 0:
        copy_row(mask_row(job, item, row) + t * 4, room.bias, max(0, min(n, job.mask_keys - t)))
        add_to_scores(s, room.bias, padded(n))
    first, last = key_limits(job, item, row)
    for i in range(min(max(first - t, 0), n)):
        store_f32(s, i, _F(-np.inf))
    for i in range(max(0, min(last + 1 - t, n)), padded(n)):
        store_f32(s, i, _F(-np.inf))


@njit
def _row_block(
    job: Attention, item: Item, room: Room, row: int, lane: int, t: int, n: int, begins: bool
) -> None:  # fmt: skip
    """Take a row past the keys ``t`` to ``t + n``."""
    s, o = room.s, room.o + lane * padded(job.width) * 4
    out = score_row(job, item, row) + t * 4
    q, k = room.q + lane * padded(job.size) * 4, item.k + t * item.k_row * 4
    row_scores(q, k, item.k_row, s, n, job.size)
    if job.scores != 0 and job.mode == RAW:
        copy_out(s, out, n)
    if job.cap > 0:
        cap_scores(s, n, _F(job.cap))
    if job.scores != 0 and job.mode == CAPPED:
        copy_out(s, out, n)
    _mask_keys_of_row(job, item, room, s, row, t, n)
    if job.scores != 0 and job.mode >= MASKED:
        copy_out(s, out, n)
    top, total = load_f32(room.state, lane), load_f32(room.state, LANES + lane)
    a, b = highest(s, padded(n), splat(top), splat(top))
    raised = reduce_max(vmax(a, b))
    shift = shift_of(splat(raised))
    factor = vmath.exp_below_one(splat(top) - shift)
    a, b = exponentials(s, padded(n), shift, shift)
    store_f32(room.state, lane, raised)
    store_f32(room.state, LANES + lane, total * extract(factor, 0) + reduce_add(a + b))
    if not begins:
        scale_lanes(o, padded(job.width), factor, factor)
    add_row_values(s, item.v + t * item.v_row * 4, item.v_row, o, n, job.width)


@njit
def few_rows(job: Attention, item: Item, room: Room) -> None:
    """Compute the rows of an item one by one, over each block of keys."""
    size, width = padded(job.size), padded(job.width)
    for lane in range(item.rows):
        source = query_row(job, item, item.first + lane)
        copy_row(source, room.q + lane * size * 4, job.size)
        store_f32(room.state, lane, _F(-np.inf))
        store_f32(room.state, LANES + lane, _F(0.0))
    scale = splat(_F(job.scale))
    scale_lanes(room.q, size * item.rows, scale, scale)
    zero_floats(room.o, width * item.rows)
    begin, end, _, _ = key_range(job, item)
    for t in range(begin, end, ROW_KEYS):
        n = min(ROW_KEYS, end - t)
        for lane in range(item.rows):
            _row_block(job, item, room, item.first + lane, lane, t, n, t == begin)
    for lane in range(item.rows):
        row, o = item.first + lane, room.o + lane * width * 4
        inverse = inverse_of(splat(load_f32(room.state, LANES + lane)), job.zeros)
        scale_lanes(o, width, inverse, inverse)
        copy_out(o, result_row(job, item, row), job.width)
        if job.scores != 0 and job.mode == SHARES:
            shift = shift_of(splat(load_f32(room.state, lane)))
            make_shares(score_row(job, item, row), job.keys, shift, inverse, room.s)
