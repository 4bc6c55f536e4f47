"""Layer and RMS normalization of rows, also of rows that are computed just before.

Mean and variance are computed in two passes over a row that is then in the cache, so that nothing
cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from ..registry import Pointer, kernel_factory
from ..simd import (
    first,
    fma,
    reduce_add,
    select,
    splat,
    stack_words,
    store_f32,
    vload,
    vload_first,
)
from ..target import LANES
from ..vector_memory import ITEM_BYTES, VECTOR_MEMORY
from .panel import EPILOGUE_WORDS, run_over

_F = np.float32
_ZERO, _ONE = _F(0.0), _F(1.0)
_BLOCK = 4096  # elements of rows that are computed before they are normalized, 16 KiB


@njit
def row_sum(x: Pointer, n: int) -> Any:
    """Sum of n elements, by lane."""
    a, b, c, d = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
    i = 0
    while i + 4 * LANES <= n:
        a, b = a + vload(x, i), b + vload(x, i + LANES)
        c, d = c + vload(x, i + 2 * LANES), d + vload(x, i + 3 * LANES)
        i += 4 * LANES
    while i < n:
        a = a + vload_first(x, i, n - i)
        i += LANES
    return (a + b) + (c + d)


@njit
def row_squares(x: Pointer, n: int, mean: Any) -> Any:
    """Sum of (x - mean)**2 over n elements, by lane."""
    a, b, c, d = splat(_ZERO), splat(_ZERO), splat(_ZERO), splat(_ZERO)
    i = 0
    while i + 4 * LANES <= n:
        v, w = vload(x, i) - mean, vload(x, i + LANES) - mean
        a, b = fma(v, v, a), fma(w, w, b)
        v, w = vload(x, i + 2 * LANES) - mean, vload(x, i + 3 * LANES) - mean
        c, d = fma(v, v, c), fma(w, w, d)
        i += 4 * LANES
    while i < n:
        v = select(first(n - i), vload_first(x, i, n - i) - mean, splat(_ZERO))
        a = fma(v, v, a)
        i += LANES
    return (a + b) + (c + d)


@njit
def or_constant(p: Pointer, i: int, count: int, constant: Any) -> Any:
    """Up to ``count`` elements from index i on, or a constant where there are none."""
    return vload_first(p, i, count) if p != 0 else splat(constant)


def make_apply(kind: str = "f32") -> Callable[..., None]:
    """Return what writes a normalized row as floats of a kind."""
    store, store_first = VECTOR_MEMORY[kind][1], VECTOR_MEMORY[kind][3]

    @njit
    def apply(
        x: Pointer, y: Pointer, scale: Pointer, bias: Pointer, n: int, mean: Any, factor: Any
    ) -> None:
        """Write (x - mean) * factor * scale + bias, for n elements."""
        whole = n - n % LANES if scale != 0 else 0  # usual: rows of whole vectors, with a scale
        if bias != 0:
            for i in range(0, whole, LANES):
                v = (vload(x, i) - mean) * factor
                store(y, i, fma(v, vload(scale, i), vload(bias, i)))
        else:
            for i in range(0, whole, LANES):
                store(y, i, (vload(x, i) - mean) * factor * vload(scale, i))
        for i in range(whole, n, LANES):
            v = (vload_first(x, i, n - i) - mean) * factor
            v = fma(v, or_constant(scale, i, n - i, _ONE), or_constant(bias, i, n - i, _ZERO))
            store_first(y, i, v, n - i)

    return apply


class Rows(NamedTuple):
    """Rows of ``n`` dense elements, ``x_row`` and ``y_row`` apart, and what is done with them.

    ``scale`` and ``bias`` have n elements or are null; ``means`` and ``inverses`` (of the standard
    deviation) receive one element for each row unless null.
    """

    x: Pointer
    y: Pointer
    scale: Pointer
    bias: Pointer
    means: Pointer
    inverses: Pointer
    rows: int
    n: int
    x_row: int
    y_row: int
    epsilon: float


def _make_normalize(rms: int, kind: str) -> Callable[[Rows, int, int], None]:
    """Return what normalizes some rows."""
    apply, itemsize = make_apply(kind), ITEM_BYTES[kind]

    @njit
    def normalize(own: Rows, begin: int, end: int) -> None:
        n = own.n
        for row in range(begin, end):
            source = own.x + row * own.x_row * 4
            mean = _ZERO
            if rms == 0:
                mean = reduce_add(row_sum(source, n)) / _F(n)
            variance = reduce_add(row_squares(source, n, splat(mean))) / _F(n)
            factor = _F(_ONE / np.sqrt(variance + _F(own.epsilon)))
            target = own.y + row * own.y_row * itemsize
            apply(source, target, own.scale, own.bias, n, splat(mean), splat(factor))
            if own.means != 0:
                store_f32(own.means, row, mean)
            if own.inverses != 0:
                store_f32(own.inverses, row, factor)

    return normalize


@kernel_factory
def layer_norm(rms: int, kind: str = "f32") -> Callable[..., int]:
    """Normalize rows: (x - mean) / sqrt(variance + epsilon) * scale + bias.

    With ``rms`` 1 the mean is taken to be 0 (RMSNormalization). Rows are split into parts. The
    result is float32, or bfloat16 in memory (kinds of `ITEM_BYTES`).
    """
    normalize = _make_normalize(rms, kind)

    def body(thread: int, part: int, until: int, parts: int, own: Rows) -> int:
        normalize(own, own.rows * part // parts, own.rows * until // parts)
        return 0

    return body


@kernel_factory
def computed_layer_norm(rms: int, kind: str = "f32") -> Callable[..., int]:
    """Compute rows by a pointwise kernel and normalize them while they are in the first cache.

    ``computed``, ``record`` and ``operands`` are that kernel, the template of its record (see
    `run_over`), whose pixels are the rows, and how many operands it has. It writes ``x``, which may
    be ``y`` where float32 is written: each element of a row is read before it is written.
    """
    normalize = _make_normalize(rms, kind)

    def body(
        thread: int, part: int, until: int, parts: int,
        own: Rows, computed: Pointer, record: Pointer, operands: int,
    ) -> int:  # fmt: skip
        words = stack_words(EPILOGUE_WORDS)
        begin, end = own.rows * part // parts, own.rows * until // parts
        block = max(1, _BLOCK // max(1, own.n))
        while begin < end:
            count = min(block, end - begin)
            run_over(computed, record, operands, words, 0, 0, begin, count, 0, own.n)
            normalize(own, begin, begin + count)
            begin += count
        return 0

    return body
