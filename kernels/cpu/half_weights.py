"""Products of a few rows with weights stored as bfloat16: half the memory to read.

Such a product is bound by the stream of its weights. A word holds two weights whose columns are a
vector apart, so that a load, a shift and a mask give two vectors of float32, on any processor; all
arithmetic is float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ..registry import Pointer, kernel
from ..simd import (
    as_f32,
    fma,
    load_f32,
    splat,
    splat_i32,
    vload_first,
    vload_i32,
    vstore,
    vstore_first,
)
from ..target import LANES

_F = np.float32
PANEL = 4 * LANES
"""Columns of a panel: two vectors of words."""


def round_to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest bfloat16, ties to even.

    Returns
    -------
    ndarray of uint16
        The bits; NaN stays NaN. The relative error of a normal number is at most 2 ** -8.
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    even = (bits >> np.uint32(16)) & np.uint32(1)
    rounded = (bits + np.uint32(0x7FFF) + even) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    return np.where(np.isnan(values), quiet, rounded).astype(np.uint16)


def pack_half(b: np.ndarray) -> np.ndarray:
    """Pack a (K, N) float32 matrix for `half_product`: panels of (K, PANEL), zeros at the end.

    Returns
    -------
    ndarray of uint32
        In the lower half of word i of a vector the weight of column i, in the upper half that of
        column i + LANES.
    """
    depth, columns = b.shape
    panels = -(-columns // PANEL)
    padded = np.zeros((depth, panels * PANEL), np.uint16)
    padded[:, :columns] = round_to_bfloat16(b)
    parts = padded.reshape(depth, panels, 2, 2, LANES).astype(np.uint32)
    words = parts[:, :, :, 0] | (parts[:, :, :, 1] << np.uint32(16))
    return np.ascontiguousarray(words.transpose(1, 0, 2, 3)).reshape(-1)


@njit
def _bias(bias: Pointer, column: int, columns: int) -> object:
    if bias == 0 or column >= columns:
        return splat(_F(0.0))
    return vload_first(bias, column, columns - column)


@kernel
def half_product(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    w: Pointer,
    bias: Pointer,
    y: Pointer,
    rows: int,
    depth: int,
    columns: int,
    x_row: int,
) -> int:
    """Multiply ``rows`` rows of float32, ``x_row`` elements apart, by weights of `pack_half`.

    ``y`` is (rows, columns), dense; ``bias`` has a number for each column (0: none). Panels are
    split into parts.
    """
    panels = (columns + PANEL - 1) // PANEL
    upper = splat_i32(np.int32(-65536))
    sixteen = splat_i32(np.int32(16))
    zero = splat(_F(0.0))
    for panel in range(panels * part // parts, panels * until // parts):
        column = panel * PANEL
        count = columns - column
        start = w + panel * depth * PANEL * 2
        for row in range(rows):
            source, at = x + row * x_row * 4, start
            a0, a1 = _bias(bias, column, columns), _bias(bias, column + LANES, columns)
            a2 = _bias(bias, column + 2 * LANES, columns)
            a3 = _bias(bias, column + 3 * LANES, columns)
            # Two steps at a time: chains long enough to hide the latency of additions.
            b0, b1, b2, b3 = zero, zero, zero, zero
            for k in range(depth // 2):
                v = splat(load_f32(source, 2 * k))
                p, q = vload_i32(at, 0), vload_i32(at, LANES)
                a0, a1 = fma(as_f32(p << sixteen), v, a0), fma(as_f32(p & upper), v, a1)
                a2, a3 = fma(as_f32(q << sixteen), v, a2), fma(as_f32(q & upper), v, a3)
                v = splat(load_f32(source, 2 * k + 1))
                p, q = vload_i32(at, 2 * LANES), vload_i32(at, 3 * LANES)
                b0, b1 = fma(as_f32(p << sixteen), v, b0), fma(as_f32(p & upper), v, b1)
                b2, b3 = fma(as_f32(q << sixteen), v, b2), fma(as_f32(q & upper), v, b3)
                at += PANEL * 4
            if depth % 2 != 0:
                v = splat(load_f32(source, depth - 1))
                p, q = vload_i32(at, 0), vload_i32(at, LANES)
                a0, a1 = fma(as_f32(p << sixteen), v, a0), fma(as_f32(p & upper), v, a1)
                a2, a3 = fma(as_f32(q << sixteen), v, a2), fma(as_f32(q & upper), v, a3)
            target = y + (row * columns + column) * 4
            if count >= PANEL:
                vstore(target, 0, a0 + b0)
                vstore(target, LANES, a1 + b1)
                vstore(target, 2 * LANES, a2 + b2)
                vstore(target, 3 * LANES, a3 + b3)
            else:
                vstore_first(target, 0, a0 + b0, count)
                vstore_first(target, LANES, a1 + b1, count - LANES)
                vstore_first(target, 2 * LANES, a2 + b2, count - 2 * LANES)
                vstore_first(target, 3 * LANES, a3 + b3, count - 3 * LANES)
    return 0
