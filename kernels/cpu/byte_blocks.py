"""Rows of float32 as bytes, each block of a row with a scale of its own.

A block of a row is its signed bytes, of which zeros fill the last one, then their scale (float32)
and their sum (int32), from which the zero points of what they are multiplied by follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    fma,
    reduce_add,
    reduce_max,
    splat,
    store_f32,
    store_i32,
    vabs,
    vload,
    vload_first,
    vmax,
    vrint,
)
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY

TAIL_BYTES = 8
"""Bytes of a block behind its numbers."""
_LEAST = np.float32(1e-36)
"""Blocks of smaller numbers are zeros: what they would be divided by is not a normal number."""
_F0 = np.float32(0.0)
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


@kernel
def byte_blocks(
    thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, rows: int, depth: int,
    x_row: int, block: int,
) -> int:  # fmt: skip
    """Round rows, ``x_row`` elements apart, to blocks of ``block`` bytes, a multiple of 16.

    The largest magnitude of a block becomes 127; the scale of a block with a number that is not
    finite is NaN. Blocks are split into parts.
    """
    blocks = (depth + block - 1) // block
    for item in range(rows * blocks * part // parts, rows * blocks * until // parts):
        first = item % blocks * block
        source = x + (item // blocks * x_row + first) * 4
        target = y + item * (block + TAIL_BYTES)
        count = min(block, depth - first)
        largest = _largest(source, count)
        is_zero = largest < _LEAST
        factor = splat(_F0 if is_zero else np.float32(127.0) / largest)
        total = splat(_F0)
        for i in range(0, block, LANES):
            value = vrint(_load(source, i, count) * factor)
            total = total + value
            _store_bytes(target, i, value)
        store_f32(target + block, 0, _F0 if is_zero else largest / np.float32(127.0))
        store_i32(target + block, 1, np.int32(reduce_add(total)))
    return 0
