"""float32 as sums of bfloat16 terms, of which AMX multiplies some with some.

A float32 has 24 binary digits, a bfloat16 eight: the first term is the nearest bfloat16, the next
one the nearest to what is left. With two terms of each operand, three of their four products leave
an error of about 2 ** -17 of a product; with three terms, six of nine products leave 2 ** -24, as
much as float32 has itself (Henry, Tang, Heinecke: Leveraging the bfloat16 Artificial Intelligence
Datatype For Higher-Precision Computations, ARITH 2019).

Only the last term may be infinite or NaN: it is multiplied with the first term of the other operand
alone, so that no infinity meets the remainder of a number, which may have the other sign, or be 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types

from .arithmetic import HAS_BFLOATS
from .halves import narrow_bf16
from .simd import as_f32, as_i32, call_by_name, element_at, splat, splat_i32, vload, vmax, vmin
from .target import LANES
from .vector_memory import VECTOR_MEMORY
from .vectors import I16, I32, BFloats, f32x, i32x, intrinsic

PRODUCTS = {1: 1, 2: 3, 3: 6}
"""Products of bfloat16 for one of float32, by terms of an operand."""
BLOCK = 32
"""Channels of a block: a row of a tile, of 64 bytes, has one term of each."""
TERM_BYTES = 2 * BLOCK
_TILE_COLUMNS = BLOCK // 2


def blocks_of(count: Any) -> Any:
    """Return the blocks of 32 that hold so many, a number or a size."""
    return (count + BLOCK - 1) // BLOCK


count_blocks = njit(blocks_of)
"""`blocks_of` for kernels."""

_LARGEST = np.array(0x7F7F0000, np.uint32).view(np.float32)[()]
"""Largest finite bfloat16."""
_ZERO = np.float32(0.0)
_HALF, _UPPER = np.int32(0x8000), np.int32(-0x10000)


_IN_TURN = [lane + half for lane in range(LANES) for half in (0, LANES)]


def emit_pair(builder: ir.IRBuilder, low: Any, high: Any) -> Any:
    """Emit two vectors rounded to bfloat16, one behind the other; denormals may become zero."""
    if HAS_BFLOATS:
        name = f"llvm.x86.avx512bf16.cvtne2ps2bf16.{32 * LANES}"
        found = call_by_name(builder, name, BFloats(2 * LANES), [high, low])
        return builder.bitcast(found, ir.VectorType(I16, 2 * LANES))
    halves = [narrow_bf16(builder, value, i32x.llvm) for value in (low, high)]
    lanes = ir.Constant(ir.VectorType(I32, 2 * LANES), list(range(2 * LANES)))
    return builder.shuffle_vector(*halves, lanes)


def _make_store(order: list[int] | None = None) -> Any:
    """Make what stores two vectors rounded to bfloat16, whose lanes lie in an order."""

    @intrinsic
    def store(typingctx, address, index, low, high):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pair = emit_pair(builder, *args[2:])
            pointer = builder.bitcast(element_at(builder, *args[:2], I16), pair.type.as_pointer())
            if order is not None:
                lanes = ir.Constant(ir.VectorType(I32, 2 * LANES), order)
                pair = builder.shuffle_vector(pair, pair, lanes)
            builder.store(pair, pointer, align=2)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, f32x, f32x), codegen

    return store


store_pair, store_words = _make_store(), _make_store(_IN_TURN)


@njit(forceinline=True)
def _nearest(x: Any) -> Any:
    """Return the nearest bfloat16, ties away from zero; x is none beyond all, or NaN."""
    return as_f32((as_i32(x) + splat_i32(_HALF)) & splat_i32(_UPPER))


@njit(forceinline=True)
def _leading(x: Any) -> Any:
    """Return the nearest bfloat16; of numbers beyond all, the largest."""
    return _nearest(vmin(vmax(x, splat(-_LARGEST)), splat(_LARGEST)))


def make_split_vectors(store: Any, terms: int, is_bounded: bool = False) -> Callable[..., None]:
    """Return what stores the terms of two vectors, ``apart`` bytes from one another.

    Where numbers are bounded, none is infinite or near the largest float32; a NaN stays one.
    """
    leading = _nearest if is_bounded else _leading

    @njit(forceinline=True)
    def split(target: int, index: int, apart: int, low: Any, high: Any) -> None:
        for term in range(terms - 1):
            first, second = leading(low), leading(high)
            store(target + term * apart, index, first, second)
            low, high = low - first, high - second
        store(target + (terms - 1) * apart, index, low, high)

    return split


def make_split(terms: int, kind: str = "f32") -> Callable[[int, int, int], None]:
    """Return what splits a block of channels, the first ``count``, into terms of `TERM_BYTES`.

    Memory has elements of ``kind``; what is behind them in the block becomes zero.
    """
    load, _, load_first, _ = VECTOR_MEMORY[kind]
    store = make_split_vectors(store_pair, terms)

    @njit
    def split(source: int, target: int, count: int) -> None:
        if count >= BLOCK:
            for at in range(0, BLOCK, 2 * LANES):
                store(target, at, TERM_BYTES, load(source, at), load(source, at + LANES))
            return
        for at in range(0, BLOCK, 2 * LANES):
            low = load_first(source, at, count - at)
            high = load_first(source, at + LANES, count - at - LANES)
            store(target, at, TERM_BYTES, low, high)

    return split


def make_split_columns(terms: int) -> Callable[[int, int, int, int], None]:
    """Return what splits columns of a matrix, as tiles of AMX multiply them.

    Those are tiles of 16 pairs of rows by 16 columns, of which a word is a pair; for each block of
    32 rows by terms, then from left to right.
    """
    split_vectors = make_split_vectors(store_words, terms)

    @njit
    def split(source: int, target: int, rows: int, columns: int) -> None:
        """Split rows of ``columns`` numbers, dense; zeros fill the last block."""
        row_bytes = columns * 4
        term_bytes = BLOCK // 2 * row_bytes
        for row in range(0, (rows + BLOCK - 1) // BLOCK * BLOCK, 2):
            pair = row % BLOCK // 2
            own = target + row // BLOCK * terms * term_bytes + pair * TERM_BYTES
            upper = source + row * row_bytes
            for i in range(0, columns, LANES):
                low, high = splat(_ZERO), splat(_ZERO)
                if row < rows:
                    low = vload(upper, i)
                if row + 1 < rows:
                    high = vload(upper + row_bytes, i)
                at = own + i // _TILE_COLUMNS * BLOCK // 2 * TERM_BYTES
                split_vectors(at, 2 * (i % _TILE_COLUMNS), term_bytes, low, high)

    return split
