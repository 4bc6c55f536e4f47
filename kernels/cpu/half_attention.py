"""Attention by AMX of operands rounded to bfloat16; its sums and its softmax are float32.

Operands and results lie as float32 or as bfloat16. A row of scores is a query: so queries, results
and the exponentials of scores, which are rounded into the memory of the scores, are rows of tiles
as they lie. A maximum needs an exchange between lanes for each block of keys, which float32 avoids
(`attention_lanes`): there it would cost transposes of larger operands. Exponentials need the
digits of bfloat16 only (`vmath.power_of_two_below_one`).

A thread packs keys and values of a head when it comes to its first item (`half_attention_pack`).
Functions are inlined: a job is some forty words, which each call would copy, for each row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..amx import ROWS, STATE_WORDS, release
from ..bfloat_terms import BLOCK, TERM_BYTES, blocks_of, count_blocks, store_pair
from ..registry import Pointer, kernel_factory
from ..scratch import scratch
from ..simd import extract, fma, reduce_add, reduce_max, splat, vload, vload_first, vmax, vstore
from ..target import LANES
from ..vector_memory import ITEM_BYTES, VECTOR_MEMORY
from ..vmath import c, power_of_two_below_one
from .attention_job import (
    WIDE,
    Attention,
    Item,
    count_items,
    head_of,
    inverse_of,
    item_of,
    key_limits,
    key_range,
    mask_row,
    query_row,
    result_row,
    shift_of,
)
from .attention_scores import cap_scores, highest, scale_lanes
from .half_attention_pack import make_pack_keys, make_pack_values, packed_bytes
from .rows import fill_floats, zero_floats
from .term_rows import make_split_pixel
from .term_tile import TILE_BYTES, Ahead, Sums, make_sums
from .tile_block import configure_block

_F = np.float32
KEYS = 256
"""Keys of a block, whose scores for an item's queries stay in the first cache."""
_ROW = KEYS * 4
"""Bytes of a row of scores, in which its exponentials have the first half."""
_LOG2_E = 1.4426950408889634


class HalfRoom(NamedTuple):
    """Memory of a thread: queries, scores, results, highest exponents and sums; a head's operands.

    Rows of results are ``o_row`` bytes; a row has a vector of equal highest exponents, one of those
    with the next block of keys, and one of sums over some of the keys each.
    """

    q: Pointer
    s: Pointer
    o: Pointer
    o_row: int
    top: Pointer
    raised: Pointer
    total: Pointer
    k: Pointer
    v: Pointer


def half_bytes(size: Any, width: Any, keys: Any) -> Any:
    """Bytes of a thread's memory."""
    own = blocks_of(size) * WIDE * TERM_BYTES + WIDE * (_ROW + blocks_of(width) * BLOCK * 4)
    k, v = packed_bytes(size, width, keys)
    return own + 3 * WIDE * LANES * 4 + k + v


@njit
def _room_of(memory: Pointer, job: Attention) -> Any:
    """Divide a thread's memory, of `half_bytes`."""
    o_row = count_blocks(job.width) * BLOCK * 4
    s = memory + count_blocks(job.size) * WIDE * TERM_BYTES
    o = s + WIDE * _ROW
    top = o + WIDE * o_row
    raised = top + WIDE * LANES * 4
    total = raised + WIDE * LANES * 4
    k = total + WIDE * LANES * 4
    v = k + count_blocks(job.keys) * count_blocks(job.size) * 2 * TILE_BYTES
    return HalfRoom(memory, s, o, o_row, top, raised, total, k, v)


# --- softmax ----------------------------------------------------------------------------------


@njit(forceinline=True)
def _exponents_of(
    job: Attention, item: Item, row: int, s: Pointer, t: int, keys: int, count: int
) -> Any:  # fmt: skip
    """Cap and mask a row of ``count`` scores, the first ``keys`` of which are of keys from ``t``.

    Returns what numbers of the row are to be multiplied by to be exponents of two.
    """
    scale, unit = _F(job.scale), _F(job.scale) * _F(_LOG2_E)
    if job.cap > 0:
        scale_lanes(s, count, splat(scale), splat(scale))
        cap_scores(s, count, _F(job.cap))
        unit = _F(_LOG2_E)
    if job.mask != 0:
        mask = mask_row(job, item, row) + t * 4
        given = max(0, min(keys, job.mask_keys - t))
        for i in range(0, given, LANES):
            bias = vload_first(mask, i, given - i) * c(_LOG2_E)
            vstore(s, i, fma(vload(s, i), splat(unit), bias))
        unit = _F(1.0)
    elif unit <= _F(0.0):
        scale_lanes(s, count, splat(unit), splat(unit))
        unit = _F(1.0)
    return unit


@njit(forceinline=True)
def _limit_row(job: Attention, item: Item, row: int, s: Pointer, t: int, count: int) -> None:
    """Mask keys outside of a query's limits, of ``count`` from number ``t`` on."""
    first, last = key_limits(job, item, row)
    begin = min(max(first - t, 0), count)
    end = max(min(last + 1 - t, count), 0)
    fill_floats(s, begin, _F(-np.inf))
    fill_floats(s + end * 4, count - end, _F(-np.inf))


@njit(forceinline=True)
def _take_exponentials(s: Pointer, count: int, unit: Any, shift: Any) -> Any:
    """Replace scores by 2 ** (s * unit - shift), as bfloat16; returns sums over some each."""
    even, odd = c(0.0), c(0.0)
    for i in range(0, count, 2 * LANES):
        # Products are rounded as the highest was: a sum of two would lie above 0 for large ones.
        low = power_of_two_below_one(vload(s, i) * unit - shift)
        high = power_of_two_below_one(vload(s, i + LANES) * unit - shift)
        store_pair(s, i, low, high)
        even, odd = even + low, odd + high
    return even + odd


@njit(forceinline=True)
def _find_highest(room: HalfRoom, index: int, count: int, unit: Any, begins: bool) -> None:
    """Store the highest exponent of a row so far, with those of a block of keys."""
    a, b = highest(room.s + index * _ROW, count, c(-np.inf), c(-np.inf))
    raised = splat(reduce_max(vmax(a, b)) * unit)
    if not begins:
        raised = vmax(vload(room.top, index * LANES), raised)
    vstore(room.raised, index * LANES, raised)


@njit(forceinline=True)
def _normalize_row(room: HalfRoom, index: int, count: int, unit: Any, begins: bool) -> None:
    """Take a row past a block of keys; a higher score than before scales its sum and result."""
    s, o = room.s + index * _ROW, room.o + index * room.o_row
    raised = vload(room.raised, index * LANES)
    shift = shift_of(raised)
    found = _take_exponentials(s, count, splat(unit), shift)
    if not begins:
        top = vload(room.top, index * LANES)
        factor = power_of_two_below_one(top - shift)
        found = found + vload(room.total, index * LANES) * factor
        if extract(factor, 0) != _F(1.0):
            scale_lanes(o, room.o_row // 4, factor, factor)
    vstore(room.top, index * LANES, raised)
    vstore(room.total, index * LANES, found)


# --- rows -------------------------------------------------------------------------------------


def _make_rows(kind: str, result: str) -> Callable[..., None]:
    """Make what computes the rows of an item."""
    split_row, sums, itemsize = make_split_pixel(1, kind), make_sums(1), ITEM_BYTES[kind]
    _, store, _, store_first = VECTOR_MEMORY[result]
    result_bytes, is_half = ITEM_BYTES[result], result == "bf16"

    @njit(forceinline=True)
    def load_queries(job: Attention, item: Item, room: HalfRoom) -> None:
        """Copy queries; a block of elements has all of them, rows without one are zeros."""
        plane = WIDE * TERM_BYTES
        if item.rows < WIDE:
            zero_floats(room.q, count_blocks(job.size) * plane // 4)
        for index in range(item.rows):
            source = query_row(job, item, item.first + index, itemsize)
            split_row(source, room.q + index * TERM_BYTES, plane, job.size)

    @njit(forceinline=True)
    def multiply_keys(
        state: Pointer, job: Attention, room: HalfRoom, is_low: bool, t: int, count: int
    ) -> None:  # fmt: skip
        blocks = count_blocks(job.size)
        over = Sums(1, 1, 0, 0, blocks, WIDE * TERM_BYTES, TERM_BYTES, _ROW)
        lower = room.q + ROWS * TERM_BYTES if is_low else 0
        for i in range(0, count, BLOCK):
            k = room.k + (t + i) // BLOCK * blocks * 2 * TILE_BYTES
            sums(state, over, True, room.q, lower, k, room.s + i * 4, True, Ahead(0, 0))

    @njit(forceinline=True)
    def add_values(
        state: Pointer, job: Attention, room: HalfRoom, is_low: bool, t: int, count: int,
        begins: bool,
    ) -> None:  # fmt: skip
        over = Sums(1, 1, 0, 0, count // BLOCK, TERM_BYTES, _ROW, room.o_row)
        lower = room.s + ROWS * _ROW if is_low else 0
        panel = room.v
        for j in range(0, job.width, BLOCK):
            is_wide = j + ROWS < job.width
            tiles = 2 if is_wide else 1
            v = panel + t // BLOCK * tiles * TILE_BYTES
            sums(state, over, is_wide, room.s, lower, v, room.o + j * 4, begins, Ahead(0, 0))
            panel += count_blocks(job.keys) * tiles * TILE_BYTES

    @njit(forceinline=True)
    def store_rows(job: Attention, item: Item, room: HalfRoom) -> None:
        for index in range(item.rows):
            o = room.o + index * room.o_row
            y = result_row(job, item, item.first + index, result_bytes)
            total = reduce_add(vload(room.total, index * LANES))
            inverse = inverse_of(splat(total), job.zeros)
            i = 0
            while i + 2 * LANES <= job.width:
                low, high = vload(o, i) * inverse, vload(o, i + LANES) * inverse
                if is_half:
                    store_pair(y, i, low, high)
                else:
                    store(y, i, low)
                    store(y, i + LANES, high)
                i += 2 * LANES
            while i < job.width:
                store_first(y, i, vload(o, i) * inverse, job.width - i)
                i += LANES

    @njit
    def rows(state: Pointer, job: Attention, item: Item, room: HalfRoom) -> None:
        load_queries(job, item, room)
        begin, end, all_from, all_until = key_range(job, item)
        begin, is_low = begin // BLOCK * BLOCK, item.rows > ROWS
        if end <= begin:
            zero_floats(room.o, WIDE * room.o_row // 4)
            zero_floats(room.total, WIDE * LANES)
        for t in range(begin, end, KEYS):
            keys = min(KEYS, end - t)
            count = count_blocks(keys) * BLOCK
            multiply_keys(state, job, room, is_low, t, count)
            unit = _F(0.0)
            for index in range(item.rows):
                row, s = item.first + index, room.s + index * _ROW
                unit = _exponents_of(job, item, row, s, t, keys, count)
                if t < all_from or t + count > all_until:
                    _limit_row(job, item, row, s, t, count)
                _find_highest(room, index, count, unit, t == begin)
            # Apart, because each row would wait for its own maximum.
            for index in range(item.rows):
                _normalize_row(room, index, count, unit, t == begin)
            add_values(state, job, room, is_low, t, count, t == begin)
        store_rows(job, item, room)

    return rows


@kernel_factory
def half_attention(kind: str, result: str) -> Callable[..., int]:
    """Build attention of operands and results of these kinds of `ITEM_BYTES`: f32 or bf16."""
    compute_rows, itemsize = _make_rows(kind, result), ITEM_BYTES[kind]
    pack_keys, pack_values = make_pack_keys(kind), make_pack_values(kind)

    def body(
        thread: int, part: int, until: int, parts: int, job: Attention, workspace: Pointer,
        workspace_bytes: int,
    ) -> int:  # fmt: skip
        """Compute attention without ``scores``; items are split into parts."""
        room = _room_of(workspace + thread * workspace_bytes, job)
        items, blocks = count_items(job)
        state, packed, error = scratch(STATE_WORDS), -1, 0
        configure_block(state, ROWS)
        for index in range(items * part // parts, items * until // parts):
            head = head_of(job, index // blocks, itemsize)
            if head.keys < 0:
                error = -head.keys
                break
            if packed != index // blocks:
                pack_keys(head.k, job.k_row, room.k, head.keys, job.size)
                pack_values(
                    head.v, job.v_row, room.v, head.keys, job.width, count_blocks(job.keys)
                )  # fmt: skip
                packed = index // blocks
            compute_rows(state, job, item_of(job, head, index % blocks), room)
        release(state)
        return error

    return body
