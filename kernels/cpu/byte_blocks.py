"""Rows of float32 as bytes, each block of a row with a scale of its own.

A block of a row is its signed bytes, of which zeros fill the last one, then their scale (float32)
and their sum (int32), from which the zero points of what they are multiplied by follow. Behind the
blocks of a row may lie, as blocks of their own, the sums of its blocks, which weights with an
offset for each block multiply.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    fma,
    load_f32,
    reduce_add,
    reduce_max,
    splat,
    stack_words,
    store_f32,
    store_i8,
    store_i32,
    vabs,
    vload,
    vload_first,
    vmax,
    vmin,
    vrint,
)
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY

TAIL_BYTES = 8
"""Bytes of a block behind its numbers."""
_LEAST = np.float32(1e-36)
"""Blocks of smaller numbers are zeros: what they would be divided by is not a normal number."""
_F0, _MOST = np.float32(0.0), np.float32(127.0)
FINER = 256
"""Steps of the second term in one of the first. That leaves at most half of it, 128 steps, of which
127 fit a byte."""
_FINER = np.float32(FINER)
_KEPT, _KEPT_WORDS = 256, 128
"""Sums of blocks that are kept; others, of very long blocks, are computed twice."""
_store_bytes = VECTOR_MEMORY["i8"][1]


@njit
def _load(x: Pointer, i: int, count: int) -> Any:
    if i + LANES <= count:
        return vload(x, i)
    return vload_first(x, i, max(0, count - i))


@njit
def _largest(x: Pointer, count: int) -> Any:
    """Largest magnitude; NaN where a number is not finite."""
    largest, invalid = splat(_F0), splat(_F0)
    for i in range(0, count, LANES):
        value = _load(x, i, count)
        largest = vmax(vabs(value), largest)
        invalid = fma(value, splat(_F0), invalid)
    return reduce_max(largest) + reduce_add(invalid)


@njit
def _finish(target: Pointer, block: int, step: Any, total: Any) -> None:
    """Store a block's scale, and the sum of its numbers."""
    store_f32(target + block, 0, step)
    store_i32(target + block, 1, np.int32(total))


@njit
def _step(largest: Any) -> Any:
    return _F0 if largest < _LEAST else largest / _MOST


@njit
def _round_block(x: Pointer, count: int, target: Pointer, rest: Pointer, block: int) -> None:
    """Round ``count`` numbers; the block at ``rest`` gets what that leaves, if there is one."""
    largest = _largest(x, count)
    factor = splat(_F0 if largest < _LEAST else _MOST / largest)
    total, total_rest = splat(_F0), splat(_F0)
    for i in range(0, block, LANES):
        scaled = _load(x, i, count) * factor
        value = vrint(scaled)
        total = total + value
        _store_bytes(target, i, value)
        if rest != 0:
            value = vmin(vrint((scaled - value) * splat(_FINER)), splat(_MOST))
            total_rest = total_rest + value
            _store_bytes(rest, i, value)
    _finish(target, block, _step(largest), reduce_add(total))
    if rest != 0:
        _finish(rest, block, _step(largest) / _FINER, reduce_add(total_rest))


@njit
def _sum(x: Pointer, count: int) -> Any:
    total = splat(_F0)
    for i in range(0, count, LANES):
        total = total + _load(x, i, count)
    return reduce_add(total)


@njit
def _round_sums(x: Pointer, count: int, target: Pointer, rest: Pointer, block: int) -> None:
    """Round the sums of ``count`` blocks, as `_round_block` does numbers."""
    kept = stack_words(_KEPT_WORDS)
    largest, invalid = _F0, _F0
    for i in range(count):
        value = _sum(x + i * block * 4, block)
        if i < _KEPT:
            store_f32(kept, i, value)
        largest, invalid = max(largest, abs(value)), invalid + value * _F0
    largest = largest + invalid  # NaN where one is not finite
    factor = _MOST / largest if largest >= _LEAST else _F0
    total, total_rest = _F0, _F0
    for i in range(block):
        scaled, value = _F0, _F0
        if i < count and factor > _F0:
            own = load_f32(kept, i) if i < _KEPT else _sum(x + i * block * 4, block)
            scaled = own * factor
            value = np.rint(scaled)
        store_i8(target, i, np.int8(value))
        total += value
        if rest != 0:
            value = min(np.rint((scaled - value) * _FINER), _MOST)
            store_i8(rest, i, np.int8(value))
            total_rest += value
    _finish(target, block, _step(largest), total)
    if rest != 0:
        _finish(rest, block, _step(largest) / _FINER, total_rest)


@kernel
def byte_blocks(
    thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, rows: int, depth: int,
    x_row: int, block: int, sums: int, terms: int,
) -> int:  # fmt: skip
    """Round rows, ``x_row`` elements apart, to blocks of ``block`` bytes, a multiple of 16.

    The largest magnitude of a block becomes 127; the scale of a block with a number that is not
    finite is NaN. With ``sums``, whose blocks divide the depth, those of a row's blocks follow it.
    With two ``terms`` a second row follows each, of what rounding left, so that the sum of both is
    half of 1/32512 of a block's largest number away, or once in 512 numbers all of it. Blocks are
    split into parts.
    """
    own = (depth + block - 1) // block
    blocks = own + ((own + block - 1) // block if sums != 0 else 0)
    size = block + TAIL_BYTES
    for item in range(rows * blocks * part // parts, rows * blocks * until // parts):
        index, first = item // blocks, item % blocks
        row = x + index * x_row * 4
        target = y + (index * terms * blocks + first) * size
        rest = target + blocks * size if terms > 1 else 0
        if first < own:
            count = min(block, depth - first * block)
            _round_block(row + first * block * 4, count, target, rest, block)
        else:
            first = (first - own) * block
            _round_sums(row + first * block * 4, min(block, own - first), target, rest, block)
    return 0
