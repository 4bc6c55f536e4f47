"""The tile by AMX: the sums of up to 16 rows and 32 columns, for two such tiles at a time.

It takes the record of `tile.tile`, and computes the same: operands are words of four bytes, of
which 16 rows of 16 words of ``a`` are read in place, and of ``b`` as many of a panel. Two tiles,
which may be of different rows of the result, share what is read of ``b``: four tiles of the
processor hold their sums, two what is read of ``a`` and two of ``b``.

What is left of a segment's words, fewer than 16, is read with those before it, so that all tiles of
the processor keep their sizes: the weights of those before it are zeros in a copy. Of floats such
products would make NaN of infinities. They have a configuration and a pass of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import njit
from numba.core import types

from ..amx import (
    ROW_BYTES,
    ROW_WORDS,
    ROWS,
    STATE_WORDS,
    begin,
    configure,
    describe,
    release,
)
from ..emitter import BYTE, NONE, unpacked
from ..registry import Pointer, kernel_factory
from ..scratch import scratch
from ..simd import load_i64, prefetch, store_i64
from ..target import LANES
from ..vectors import intrinsic
from .sum_stores import ENDINGS, FIRST, LAST, SCALED
from .tile import Tile, TileRecord
from .tile_block import (
    SUMS,
    A,
    B,
    clear_sums,
    load_columns,
    load_rows,
    load_sums,
    make_multiply,
    store_sums,
)

MOST_ROWS, MOST_VECTORS = ROWS, 2 * ROW_WORDS // LANES
"""Rows of a tile, and vectors of a panel."""
_MOST_RESTS = 16
"""Segments whose last weights are copied once for all tiles; those of others are for each."""


class Sums(NamedTuple):
    """Sums of two tiles that become bytes or floats while the next ones are multiplied.

    They lie densely at ``block``, and the results do at ``c`` and ``other``, or would if they were
    of four bytes. ``share`` rows are made at each step.
    """

    block: Pointer
    c: Pointer
    other: Pointer
    rows: int
    share: int


@intrinsic(prefer_literal=True)
def _finish_row(typingctx, nv, c, residual, record):  # type: ignore[no-untyped-def]
    """Add a residual to a row of sums, and apply the activation."""

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        fields = _fields(builder, values[3])
        own = Tile(builder, 1, nv.literal_value, "f32", "register", ENDINGS[0], fields)
        at, beside = (builder.inttoptr(address, BYTE) for address in values[1:3])
        own.store(at, own.finish(beside, own.rows(at, own.args.ldc)))
        return context.get_dummy_value()

    return types.void(nv, c, residual, record), codegen


@intrinsic(prefer_literal=True)
def _store_scaled(  # type: ignore[no-untyped-def]
    typingctx, count, nv, ending, sums, apart, c, record
):
    """Store what ``count`` rows of sums, ``apart`` bytes, become; the sums would lie at ``c``."""

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        rows, vectors, last = count.literal_value, nv.literal_value, ENDINGS[ending.literal_value]
        own = Tile(builder, rows, vectors, "u8", "register", last, _fields(builder, values[6]))
        own.args = own.args._replace(ldc=own.words(own.args.ldc))
        source, target = (builder.inttoptr(values[i], BYTE) for i in (3, 5))
        own.store_scaled(target, own.rows(source, values[4]))
        return context.get_dummy_value()

    return types.void(count, nv, ending, sums, apart, c, record), codegen


def _fields(builder: Any, record: Any) -> TileRecord:
    fields: TileRecord = unpacked(builder, TileRecord, record)
    return fields


@kernel_factory
def amx_tile(nv: int, kind: str, ending: str = ENDINGS[0]) -> Callable[..., int]:
    """Build the tile of ``nv`` vectors, and up to 16 rows, of a kind of ``amx.PRODUCTS``.

    The record's ``height`` says how many rows: they are a part of the configuration. Residual and
    activation are those of float32 sums; whole sums may become others (`tile.ENDINGS`).
    """
    panel_bytes = nv * LANES * 4
    is_wide = panel_bytes > ROW_BYTES
    is_float, last = kind == "bf16", ENDINGS.index(ending)
    multiply = make_multiply(kind)
    block_bytes, rest_bytes = 2 * ROWS * panel_bytes, _MOST_RESTS * ROW_WORDS * panel_bytes
    memory_words = (2 * block_bytes + rest_bytes) // 8

    @njit
    def shape(state: Pointer, height: int, columns: int, words: int) -> None:
        """Configure the tiles of the processor, which a second time are the same ones."""
        for half in range(2):
            width = min(ROW_WORDS, max(columns - ROW_WORDS * half, 0)) * 4
            describe(state, A[half], height, words * 4)
            if width > 0:
                describe(state, SUMS[half], height, width)
                describe(state, SUMS[2 + half], height, width)
                describe(state, B[half], words, width)
        configure(state)

    @njit
    def begin_sums(
        state: Pointer, own: TileRecord, begins: bool, c: Pointer, other: Pointer
    ) -> None:  # fmt: skip
        """Let the sums be zeros, the bias, or what there is; ``other`` is 0 for one tile."""
        is_low = other != 0
        if begins and own.bias == 0:
            clear_sums(state, is_low, is_wide)
        elif begins:
            # Rows that lie at one place are all the bias.
            load_sums(state, is_low, is_wide, own.bias, own.bias, 0)
        else:
            load_sums(state, is_low, is_wide, c, other, own.ldc * 4)

    @njit
    def add(state: Pointer, a: Pointer, other: Pointer, stride: int, b: Pointer) -> None:
        """Add the products of 16 words of each row; ``other`` is 0 for one tile."""
        is_low = other != 0
        load_columns(state, is_wide, b, ROW_BYTES, panel_bytes)
        load_rows(state, is_low, a, other, stride)
        multiply(state, is_low, is_wide)

    @njit
    def copy_rest(own: TileRecord, segment: int, target: Pointer) -> Pointer:
        """Copy the last weights of a segment behind as many zeros as make 16 words of them."""
        rest = own.length % ROW_WORDS
        source = own.b + ((segment + 1) * own.length - rest) * panel_bytes
        zeros = (ROW_WORDS - rest) * panel_bytes // 8
        for i in range(zeros):
            store_i64(target, i, 0)
        for i in range(rest * panel_bytes // 8):
            store_i64(target, zeros + i, load_i64(source, i))
        return target

    @njit
    def store_rows(own: TileRecord, sums: Sums, first: int, until: int) -> Any:
        """Store what rows of a block of sums become, four at a time; returns the next row."""
        row, until = first, min(until, sums.rows)
        while row < until:
            c = sums.c if row < own.height else sums.other
            within = row if row < own.height else row - own.height
            at, source = c + within * own.ldc * 4, sums.block + row * panel_bytes
            if within + 4 <= own.height:
                _store_scaled(4, nv, last, source, panel_bytes, at, own)
                row += 4
            else:
                _store_scaled(1, nv, last, source, panel_bytes, at, own)
                row += 1
        return row

    @njit(forceinline=True)
    def add_segments(
        state: Pointer, own: TileRecord, first: int, steps: int, rests: Pointer, a: Pointer,
        other: Pointer, before: Sums, ahead: Pointer,
    ) -> Pointer:  # fmt: skip
        """Add the words from ``first`` of all segments to the sums of one tile, or two.

        Meanwhile the sums before become results, and the next block of weights is fetched, of which
        the rest from the returned address on remains.
        """
        stride, rest = own.lda * 4, own.length % ROW_WORDS
        share, done = before.share, 0
        # The record says how much a tile fetches for a word.
        until, more = ahead, own.ahead_step * ROW_WORDS * (1 if other == 0 else 2)
        segment = 0
        for s0 in range(own.s0):
            for s1 in range(own.s1):
                at = (s0 * own.sa0 + s1 * own.sa1 + first) * 4
                left, right = a + at, other + at if other != 0 else 0
                b = own.b + (segment * own.length + first) * panel_bytes
                for _ in range(steps):
                    add(state, left, right, stride, b)
                    until += more
                    while ahead < until:
                        prefetch(ahead)
                        ahead += ROW_BYTES
                    left += ROW_BYTES
                    right = right + ROW_BYTES if other != 0 else 0
                    b += ROW_WORDS * panel_bytes
                    if not is_float:
                        done = store_rows(own, before, done, done + share)
                if rests != 0:
                    back = (ROW_WORDS - rest) * 4
                    kept = segment < _MOST_RESTS - 1
                    last = rests + min(segment, _MOST_RESTS - 1) * ROW_WORDS * panel_bytes
                    last = last if kept else copy_rest(own, segment, last)
                    add(state, left - back, right - back if other != 0 else 0, stride, last)
                segment += 1
        if not is_float:
            store_rows(own, before, done, before.rows)
        return ahead

    @njit
    def locate(own: TileRecord, place: int) -> Any:
        """Return where the rows of a tile begin, and its sums."""
        row, tile = place // own.tiles, place % own.tiles
        a = own.row_a * row + own.height * own.lda * tile
        c = own.row_c * row + own.height * own.ldc * tile
        return own.a + a * 4, own.c + c * 4

    @njit
    def run(
        state: Pointer, own: TileRecord, first: int, steps: int, rests: Pointer, begins: bool,
        block: Pointer,
    ) -> None:  # fmt: skip
        """Add the words from ``first`` of all segments, to two tiles at a time.

        Sums become results by way of a ``block`` in the first-level cache, if there is one.
        """
        first_block, ahead = block, own.ahead
        share = 2 * own.height // max(1, own.s0 * own.s1 * steps) + 1
        before = Sums(0, 0, 0, 0, share)
        count = own.rows * own.tiles
        for place in range(0, count, 2):
            a, c = locate(own, place)
            other_a, other_c = locate(own, place + 1) if place + 1 < count else (0, 0)
            begin_sums(state, own, begins, c, other_c)
            ahead = add_segments(state, own, first, steps, rests, a, other_a, before, ahead)
            if block == 0:
                store_sums(state, other_c != 0, is_wide, c, other_c, own.ldc * 4)
            else:
                second = block + own.height * panel_bytes
                store_sums(state, other_c != 0, is_wide, block, second, panel_bytes)
                before = Sums(block, c, other_c, own.height * (1 if other_c == 0 else 2), share)
                block = 2 * first_block + block_bytes - block
        if not is_float:
            store_rows(own, before, 0, before.rows)

    @njit
    def finish(own: TileRecord) -> None:
        """Apply what follows the sums, which lie in the first-level cache, or not far from it."""
        for row in range(own.rows):
            c = own.c + row * own.row_c * 4
            r = own.residual + row * own.row_r * 4 if own.residual != 0 else 0
            for _ in range(own.tiles * own.height):
                _finish_row(nv, c, r, own)
                c += own.ldc * 4
                r = r + own.ldr * 4 if own.residual != 0 else 0

    @njit
    def run_whole(own: TileRecord, state: Pointer, block: Pointer, rests: Pointer) -> None:
        """Compute whole sums, in one pass."""
        steps, rest = own.length // ROW_WORDS, own.length % ROW_WORDS
        has_rest = steps > 0 and rest > 0
        if has_rest:
            for segment in range(min(own.s0 * own.s1, _MOST_RESTS - 1)):
                copy_rest(own, segment, rests + segment * ROW_WORDS * panel_bytes)
        words = own.length if 0 < own.length < ROW_WORDS else ROW_WORDS
        shape(state, own.height, min(own.n, nv * LANES), words)
        run(
            state, own, 0, max(steps, 1 if rest > 0 else 0), rests if has_rest else 0,
            (own.flags & FIRST) != 0, block if (own.flags & SCALED) != 0 else 0,
        )  # fmt: skip

    @njit
    def run_floats(own: TileRecord, state: Pointer) -> None:
        """Compute sums of floats, in a pass for each configuration."""
        steps, rest = own.length // ROW_WORDS, own.length % ROW_WORDS
        begins = (own.flags & FIRST) != 0
        for words in (ROW_WORDS, rest):
            count = steps if words == ROW_WORDS else 1
            if words == 0 or (count == 0 and rest > 0):
                continue
            shape(state, own.height, min(own.n, nv * LANES), words)
            run(state, own, 0 if words == ROW_WORDS else steps * ROW_WORDS, count, 0, begins, 0)
            begins = False
        if (own.flags & LAST) != 0 and (own.residual != 0 or own.activation != NONE):
            finish(own)

    def body(thread: int, part: int, until: int, parts: int, record: TileRecord) -> int:
        state = scratch(STATE_WORDS)
        begin(state)
        if is_float:
            run_floats(record, state)
        else:
            # Rows of tiles begin with a cache line.
            memory = scratch(memory_words)
            run_whole(record, state, memory, memory + 2 * block_bytes)
        release(state)
        return 0

    return body
