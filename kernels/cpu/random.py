"""Random numbers: Philox 4x32-10, of which a number depends on a key and on its place alone.

J. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). A block of four words of
32 bits is a function of the block's number and a key of 64 bits, so that parts of a tensor can be
filled in any order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..atomics import cycles
from ..lanes import lanes_of
from ..registry import Pointer, kernel, kernel_factory
from ..simd import load_f64, load_i64, store_f64, store_i64

_U = np.uint64
_LOW = _U(0xFFFFFFFF)
_SHIFT = _U(32)
_MULTIPLIERS = _U(0xD2511F53), _U(0xCD9E8D57)
_WEYL = _U(0x9E3779B9), _U(0xBB67AE85)
_ROUNDS = 10


@njit
def _block(number: int, key: int) -> Any:
    """Four words of 32 bits."""
    a, b, c, d = _U(number) & _LOW, _U(number) >> _SHIFT, _U(0), _U(0)
    k, m = _U(key) & _LOW, _U(key) >> _SHIFT
    for _ in range(_ROUNDS):
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b, c, d = (q >> _SHIFT) ^ b ^ k, q & _LOW, (p >> _SHIFT) ^ d ^ m, p & _LOW
        k, m = (k + _WEYL[0]) & _LOW, (m + _WEYL[1]) & _LOW
    return a, b, c, d


@njit
def _fraction(high: Any, low: Any) -> Any:
    """A multiple of 2**-53 from 0 on, below 1, of 53 of 64 bits."""
    return np.float64(np.int64(((high << _SHIFT) | low) >> _U(11))) * 2.0**-53


@kernel
def random_key(thread: int, part: int, until: int, parts: int, key: Pointer) -> int:
    """key[0] = another number each time: bits of the time stamp counter, mixed."""
    if part == 0:
        number = _U(cycles())
        number = (number ^ (number >> _U(33))) * _U(0xFF51AFD7ED558CCD)
        number = (number ^ (number >> _U(33))) * _U(0xC4CEB9FE1A85EC53)
        store_i64(key, 0, np.int64(number ^ (number >> _U(33))))
    return 0


@kernel_factory
def random_uniform(dtype: str) -> Callable[..., int]:
    """y[i] = a number of f32 or f64 from ``low`` to ``high``; four, or two, to a block."""
    store = getattr(simd, f"store_{dtype}")
    is_double = dtype == "f64"

    def body(
        thread: int, part: int, until: int, parts: int,
        y: Pointer, key: Pointer, count: int, low: float, high: float,
    ) -> int:  # fmt: skip
        own, per = load_i64(key, 0), 2 if is_double else 4
        blocks = (count + per - 1) // per
        for block in range(blocks * part // parts, blocks * until // parts):
            a, b, c, d = _block(block, own)
            if is_double:
                fractions = _fraction(a, b), _fraction(c, d)
                for i in range(min(per, count - block * per)):
                    store(y, block * per + i, low + (high - low) * fractions[i])
            else:
                words = a, b, c, d
                for i in range(min(per, count - block * per)):
                    fraction = np.float32(np.int64(words[i] >> _U(8))) * np.float32(2.0**-24)
                    value = np.float32(low) + np.float32(high - low) * fraction
                    store(y, block * per + i, value)
        return 0

    return body


@kernel_factory
def multinomial(dtype: str, result: str) -> Callable[..., int]:
    """y[row, j] = a class, by logarithms of probabilities that need not sum to 1.

    ``x`` is (rows, classes) of ``"f32"`` or ``"f64"``, y (rows, samples) of ``"i32"`` or ``"i64"``,
    both dense; ``scratch`` has ``classes`` f64 for each thread. Rows are split into parts.
    """
    load = lanes_of(dtype).load
    store = getattr(simd, f"store_{result}")
    cast = {"i32": np.int32, "i64": np.int64}[result]

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, key: Pointer, rows: int, classes: int, samples: int,
        scratch: Pointer, scratch_bytes: int,
    ) -> int:  # fmt: skip
        own, sums = load_i64(key, 0), scratch + thread * scratch_bytes
        for row in range(rows * part // parts, rows * until // parts):
            most = -math.inf
            for i in range(classes):
                most = max(most, np.float64(load(x, row * classes + i)))
            total = 0.0
            for i in range(classes):
                total += math.exp(np.float64(load(x, row * classes + i)) - most)
                store_f64(sums, i, total)
            for j in range(samples):
                a, b, _, _ = _block(row * samples + j, own)
                wanted, low, high = _fraction(a, b) * total, 0, classes - 1
                while low < high:
                    middle = (low + high) // 2
                    if load_f64(sums, middle) > wanted:
                        high = middle
                    else:
                        low = middle + 1
                store(y, row * samples + j, cast(low))
        return 0

    return body
