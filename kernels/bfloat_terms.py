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

from .halves import narrow_bf16
from .simd import as_f32, as_i32, call_by_name, element_at, splat, splat_i32, vmax, vmin
from .target import LANES, has_feature
from .vector_memory import VECTOR_MEMORY
from .vectors import I16, BFloats, f32x, i32x, intrinsic

PRODUCTS = {1: 1, 2: 3, 3: 6}
"""Products of bfloat16 for one of float32, by terms of an operand."""
BLOCK = 32
"""Channels of a block: a row of a tile, of 64 bytes, has one term of each."""
TERM_BYTES = 2 * BLOCK
ITEM_BYTES = {"f32": 4, "bf16": 2}
"""Bytes of a number in memory, by its kind."""

_LARGEST = np.array(0x7F7F0000, np.uint32).view(np.float32)[()]
"""Largest finite bfloat16."""
_HALF, _UPPER = np.int32(0x8000), np.int32(-0x10000)


def emit_pair(builder: ir.IRBuilder, low: Any, high: Any) -> Any:
    """Emit two vectors rounded to bfloat16, one behind the other; denormals may become zero."""
    pair = ir.VectorType(I16, 2 * LANES)
    if LANES == 16 and has_feature("avx512bf16"):
        name = "llvm.x86.avx512bf16.cvtne2ps2bf16.512"
        found = call_by_name(builder, name, BFloats(32), [high, low])
        return builder.bitcast(found, pair)
    halves = [narrow_bf16(builder, value, i32x.llvm) for value in (low, high)]
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), 2 * LANES), list(range(2 * LANES)))
    return builder.shuffle_vector(*halves, lanes)


@intrinsic
def _store_pair(typingctx, address, index, low, high):  # type: ignore[no-untyped-def]
    """Store two vectors rounded to bfloat16, one after the other."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        pair = emit_pair(builder, *args[2:])
        pointer = builder.bitcast(element_at(builder, *args[:2], I16), pair.type.as_pointer())
        builder.store(pair, pointer, align=2)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, f32x, f32x), codegen


@njit
def _leading(x: Any) -> Any:
    """Return the nearest bfloat16, ties away from zero; of numbers beyond all, the largest."""
    inside = vmin(vmax(x, splat(-_LARGEST)), splat(_LARGEST))
    return as_f32((as_i32(inside) + splat_i32(_HALF)) & splat_i32(_UPPER))


def make_split(terms: int, kind: str = "f32") -> Callable[[int, int, int], None]:
    """Return what splits a block of channels, the first ``count``, into terms of `TERM_BYTES`.

    Memory has elements of ``kind``; what is behind them in the block becomes zero.
    """
    load, _, load_first, _ = VECTOR_MEMORY[kind]

    @njit
    def store(target: int, at: int, low: Any, high: Any) -> None:
        for term in range(terms - 1):
            first, second = _leading(low), _leading(high)
            _store_pair(target + term * TERM_BYTES, at, first, second)
            low, high = low - first, high - second
        _store_pair(target + (terms - 1) * TERM_BYTES, at, low, high)

    @njit
    def split(source: int, target: int, count: int) -> None:
        if count >= BLOCK:
            for at in range(0, BLOCK, 2 * LANES):
                store(target, at, load(source, at), load(source, at + LANES))
            return
        for at in range(0, BLOCK, 2 * LANES):
            low = load_first(source, at, count - at)
            store(target, at, low, load_first(source, at + LANES, count - at - LANES))

    return split
