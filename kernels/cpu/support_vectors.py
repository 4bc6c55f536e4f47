"""Radial basis functions of rows and support vectors, and their weighted sums, float32."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer, kernel
from ..simd import (
    fma,
    load_f32,
    load_i32,
    reduce_add,
    splat,
    store_f32,
    vload,
    vstore,
)
from ..target import LANES

ROWS = 4
"""Rows that meet a panel of vectors together."""
_ZERO = np.float32(0.0)


@njit
def _added(total: Any, x: Pointer, at: int, v: Any) -> Any:
    """Add the squares of differences in one feature."""
    apart = splat(load_f32(x, at)) - v
    return fma(apart, apart, total)


@kernel
def radial_basis(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, rows: int, features: int, panels: Pointer, vectors: int, gamma: float,
) -> int:  # fmt: skip
    """y[i, j] = exp(-gamma |x[i] - v[j]|**2).

    Differences are squared, as nothing cancels then. Panels hold as many vectors as a register has
    lanes, feature by feature, and there are only whole ones. Rows are split into parts, `ROWS` at a
    time.
    """
    blocks, factor = (rows + ROWS - 1) // ROWS, splat(np.float32(-gamma))
    for block in range(blocks * part // parts, blocks * until // parts):
        i, last = block * ROWS, rows - 1
        j, k, m = min(i + 1, last), min(i + 2, last), min(i + 3, last)  # perhaps one row again
        size = features * 4
        a, b, c, d = x + i * size, x + j * size, x + k * size, x + m * size
        for first in range(0, vectors, LANES):
            panel = panels + first * size
            p, q, r, s = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
            for at in range(features):
                v = vload(panel, at * LANES)
                p, q = _added(p, a, at, v), _added(q, b, at, v)
                r, s = _added(r, c, at, v), _added(s, d, at, v)
            vstore(y, i * vectors + first, vmath.exp(p * factor))
            vstore(y, j * vectors + first, vmath.exp(q * factor))
            vstore(y, k * vectors + first, vmath.exp(r * factor))
            vstore(y, m * vectors + first, vmath.exp(s * factor))
    return 0


@njit
def _dot(x: Pointer, y: Pointer, begin: Any, end: Any, total: Any) -> Any:
    """Add the products of two rows in some panels, by lane."""
    other = splat(_ZERO)
    at = begin * LANES
    while at + LANES < end * LANES:
        total = fma(vload(x, at), vload(y, at), total)
        other = fma(vload(x, at + LANES), vload(y, at + LANES), other)
        at += 2 * LANES
    if at < end * LANES:
        total = fma(vload(x, at), vload(y, at), total)
    return total + other


@kernel
def weighted_sums(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, rows: int, vectors: int, sums: int, weights: Pointer, offsets: Pointer,
    ranges: Pointer,
) -> int:  # fmt: skip
    """y[i, s] = sum of x[i, j] weights[s, j] over j, and offsets[s].

    Weights cancel one another, so lanes are summed apart. Rows of both are whole panels, of as many
    vectors as a register has lanes. For each sum ``ranges`` (int32) has the first panel and the end
    of two ranges of panels: others have no weight. Rows are split into parts.
    """
    for row in range(rows * part // parts, rows * until // parts):
        values = x + row * vectors * 4
        for s in range(sums):
            own, limits = weights + s * vectors * 4, ranges + s * 16
            a, b = np.int64(load_i32(limits, 0)), np.int64(load_i32(limits, 1))
            c, d = np.int64(load_i32(limits, 2)), np.int64(load_i32(limits, 3))
            total = _dot(values, own, c, d, _dot(values, own, a, b, splat(_ZERO)))
            store_f32(y, row * sums + s, reduce_add(total) + load_f32(offsets, s))
    return 0
