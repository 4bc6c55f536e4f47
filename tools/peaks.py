"""Kernels that do nothing but keep the arithmetic units, or the memory, as busy as they can be."""

from __future__ import annotations

import numpy as np

from ..kernels.registry import Pointer, kernel
from ..kernels.simd import fma, reduce_add, splat, store_f32, vload, vstore
from ..kernels.target import LANES

CHAINS = 12
"""Independent sums: enough to hide the latency of two units, and few enough for 16 registers."""


@kernel
def multiply_add(
    thread: int,
    part: int,
    until: int,
    parts: int,
    y: Pointer,
    rounds: int,
    factor: float,
    term: float,
) -> int:
    """Compute ``s = s * factor + term`` in `CHAINS` vectors, ``rounds`` times; y[thread] = sum.

    ``2 * CHAINS * LANES * rounds`` floating-point operations in each thread.
    """
    a, b = splat(np.float32(factor)), splat(np.float32(term))
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = s7 = s8 = s9 = s10 = s11 = b
    for _ in range(rounds):
        s0, s1, s2, s3 = fma(s0, a, b), fma(s1, a, b), fma(s2, a, b), fma(s3, a, b)
        s4, s5, s6, s7 = fma(s4, a, b), fma(s5, a, b), fma(s6, a, b), fma(s7, a, b)
        s8, s9, s10, s11 = fma(s8, a, b), fma(s9, a, b), fma(s10, a, b), fma(s11, a, b)
    low = s0 + s1 + s2 + s3 + s4 + s5
    store_f32(y, 16 * thread, reduce_add(low + s6 + s7 + s8 + s9 + s10 + s11))
    return 0


@kernel
def copy(
    thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, n: int, rounds: int
) -> int:  # fmt: skip
    """Copy n floats (a multiple of 4 * LANES * parts) from x to y, ``rounds`` times."""
    for _ in range(rounds):
        for i in range(n // parts * part, n // parts * until, 4 * LANES):
            v0, v1 = vload(x, i), vload(x, i + LANES)
            v2, v3 = vload(x, i + 2 * LANES), vload(x, i + 3 * LANES)
            vstore(y, i, v0)
            vstore(y, i + LANES, v1)
            vstore(y, i + 2 * LANES, v2)
            vstore(y, i + 3 * LANES, v3)
    return 0


@kernel
def read(
    thread: int, part: int, until: int, parts: int, x: Pointer, y: Pointer, n: int, rounds: int
) -> int:  # fmt: skip
    """Add up n floats (a multiple of 4 * LANES * parts), ``rounds`` times; y[thread] = sum."""
    s0 = s1 = s2 = s3 = splat(np.float32(0.0))
    for _ in range(rounds):
        for i in range(n // parts * part, n // parts * until, 4 * LANES):
            s0 = s0 + vload(x, i)
            s1 = s1 + vload(x, i + LANES)
            s2 = s2 + vload(x, i + 2 * LANES)
            s3 = s3 + vload(x, i + 3 * LANES)
    store_f32(y, 16 * thread, reduce_add(s0 + s1 + s2 + s3))
    return 0
