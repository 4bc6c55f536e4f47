"""The tile by AMX: the sums of up to 32 rows and 32 columns in four tiles of the processor.

It takes the record of `tile.tile`, and computes the same: operands are words of four bytes, of
which 16 rows of 16 words of ``a`` are read in place, and of ``b`` as many of a panel. What is left
of a sum's words has a configuration of its own, and is added in a second pass over the blocks.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit
from numba.core import types

from ..amx import (
    ROW_BYTES,
    ROW_WORDS,
    ROWS,
    STATE_WORDS,
    clear_configuration,
    configure,
    describe,
    release,
    tile_load,
    tile_products,
    tile_store,
    tile_zero,
)
from ..emitter import BYTE, NONE, unpacked
from ..registry import Pointer, kernel_factory
from ..simd import stack_words
from ..target import LANES
from ..vectors import intrinsic
from .tile import FIRST, LAST, Tile, TileRecord

MOST_ROWS, MOST_VECTORS = 2 * ROWS, 2 * ROW_WORDS // LANES
"""Rows of a tile, and vectors of a panel."""


@intrinsic(prefer_literal=True)
def _finish_row(typingctx, nv, c, residual, record):  # type: ignore[no-untyped-def]
    """Add a residual to a row of sums, and apply the activation."""

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        fields = unpacked(builder, TileRecord, values[3])
        own = Tile(builder, 1, nv.literal_value, "f32", "register", fields)
        at, beside = (builder.inttoptr(address, BYTE) for address in values[1:3])
        own.store(at, own.finish(beside, own.rows(at, own.args.ldc)))
        return context.get_dummy_value()

    return types.void(nv, c, residual, record), codegen


@kernel_factory
def amx_tile(nv: int, kind: str) -> Callable[..., int]:
    """Build the tile of ``nv`` vectors, and up to 32 rows, of a kind of ``amx.PRODUCTS``.

    The record's ``height`` says how many rows: they are a part of the configuration. Residual and
    activation are those of float32 sums.
    """
    panel_bytes = nv * LANES * 4
    is_wide = panel_bytes > ROW_BYTES
    is_float = kind == "bf16"
    product = tile_products[kind]

    @njit
    def shape(state: Pointer, height: int, columns: int, words: int) -> None:
        """Configure four tiles of sums, 0 to 3, two of ``a``, 4 and 5, and two of ``b``."""
        clear_configuration(state)
        for half in range(2):
            rows = min(ROWS, max(height - ROWS * half, 0))
            width = min(ROW_WORDS, max(columns - ROW_WORDS * half, 0)) * 4
            for other in range(2):
                own = min(ROW_WORDS, max(columns - ROW_WORDS * other, 0)) * 4
                if rows > 0 and own > 0:
                    describe(state, 2 * half + other, rows, own)
            if rows > 0:
                describe(state, 4 + half, rows, words * 4)
            if width > 0:
                describe(state, 6 + half, words, width)
        configure(state)

    @njit
    def clear(state: Pointer, is_low: bool) -> None:
        tile_zero(state, 0)
        if is_wide:
            tile_zero(state, 1)
        if is_low:
            tile_zero(state, 2)
        if is_low and is_wide:
            tile_zero(state, 3)

    @njit
    def load(state: Pointer, is_low: bool, c: Pointer, stride: int) -> None:
        tile_load(state, 0, c, stride)
        if is_wide:
            tile_load(state, 1, c + ROW_BYTES, stride)
        if is_low:
            tile_load(state, 2, c + ROWS * stride, stride)
        if is_low and is_wide:
            tile_load(state, 3, c + ROWS * stride + ROW_BYTES, stride)

    @njit
    def store(state: Pointer, is_low: bool, c: Pointer, stride: int) -> None:
        tile_store(state, 0, c, stride)
        if is_wide:
            tile_store(state, 1, c + ROW_BYTES, stride)
        if is_low:
            tile_store(state, 2, c + ROWS * stride, stride)
        if is_low and is_wide:
            tile_store(state, 3, c + ROWS * stride + ROW_BYTES, stride)

    @njit
    def add(state: Pointer, is_low: bool, a: Pointer, stride: int, b: Pointer) -> None:
        """Add the products of 16 words of each row."""
        tile_load(state, 6, b, panel_bytes)
        tile_load(state, 4, a, stride)
        product(state, 0, 4, 6)
        if is_low:
            tile_load(state, 5, a + ROWS * stride, stride)
            product(state, 2, 5, 6)
        if is_wide:
            tile_load(state, 7, b + ROW_BYTES, panel_bytes)
            product(state, 1, 4, 7)
        if is_low and is_wide:
            product(state, 3, 5, 7)

    @njit
    def run(state: Pointer, own: TileRecord, first: int, steps: int, begins: bool) -> None:
        """Add the words from ``first`` of all segments, to all blocks."""
        lda, ldc = own.lda * 4, own.ldc * 4
        is_low = own.height > ROWS
        for row in range(own.rows):
            a = own.a + (row * own.row_a + first) * 4
            c = own.c + row * own.row_c * 4
            for _ in range(own.tiles):
                if begins and own.bias == 0:
                    clear(state, is_low)
                else:  # rows that lie at one place are all the bias
                    load(state, is_low, own.bias if begins else c, 0 if begins else ldc)
                for s0 in range(own.s0):
                    for s1 in range(own.s1):
                        at = a + (s0 * own.sa0 + s1 * own.sa1) * 4
                        b = own.b + ((s0 * own.s1 + s1) * own.length + first) * panel_bytes
                        for _ in range(steps):
                            add(state, is_low, at, lda, b)
                            at += ROW_BYTES
                            b += ROW_WORDS * panel_bytes
                store(state, is_low, c, ldc)
                a += own.height * lda
                c += own.height * ldc

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

    def body(thread: int, part: int, until: int, parts: int, record: TileRecord) -> int:
        state = stack_words(STATE_WORDS)
        steps, rest = record.length // ROW_WORDS, record.length % ROW_WORDS
        begins = (record.flags & FIRST) != 0
        for words in (ROW_WORDS, rest):
            count = steps if words == ROW_WORDS else 1
            if words == 0 or (count == 0 and rest > 0):
                continue
            shape(state, record.height, min(record.n, nv * LANES), words)
            run(state, record, 0 if words == ROW_WORDS else steps * ROW_WORDS, count, begins)
            begins = False
        release(state)
        is_last = (record.flags & LAST) != 0
        if is_float and is_last and (record.residual != 0 or record.activation != NONE):
            finish(record)
        return 0

    return body
