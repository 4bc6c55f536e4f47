"""Softmax of rows of bytes in a scale of their own, as bytes in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer, kernel_factory
from ..simd import (
    first,
    reduce_add,
    reduce_max,
    select,
    splat,
    splat_i32,
    to_f32,
    to_i32,
    vload,
    vmin,
    vrint,
    vstore,
)
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY

_F = np.float32


@kernel_factory
def softmax_bytes(dtype: str, result: str) -> Callable[..., int]:
    """Build Softmax of ``rows`` dense rows of ``n`` bytes, ``"i8"`` or ``"u8"``, as either.

    Exponentials of a row, which are at most 1, lie in a workspace until their sum is known. Sums
    are float32. Rows are split into parts.
    """
    load, _, load_first, _ = VECTOR_MEMORY[dtype]
    _, store, _, store_first = VECTOR_MEMORY[result]
    largest = np.iinfo(np.int8 if result == "i8" else np.uint8).max

    @njit
    def row_max(x: Pointer, n: int) -> Any:
        low = splat_i32(np.int32(-128))
        top, i = low, 0
        while i + LANES <= n:
            v = to_i32(load(x, i))
            top = select(v > top, v, top)
            i += LANES
        if i < n:
            v = select(first(n - i), to_i32(load_first(x, i, n - i)), low)
            top = select(v > top, v, top)
        return reduce_max(to_f32(top))

    @njit
    def exponentials(x: Pointer, terms: Pointer, n: int, top: Any, scale: Any) -> Any:
        """Write exp((x - top) * scale), and give their sum."""
        a, b, i = splat(_F(0.0)), splat(_F(0.0)), 0
        while i + 2 * LANES <= n:
            e = vmath.exp_below_one((load(x, i) - top) * scale)
            f = vmath.exp_below_one((load(x, i + LANES) - top) * scale)
            vstore(terms, i, e)
            vstore(terms, i + LANES, f)
            a, b = a + e, b + f
            i += 2 * LANES
        while i < n:
            e = vmath.exp_below_one((load_first(x, i, n - i) - top) * scale)
            e = select(first(n - i), e, splat(_F(0.0)))
            vstore(terms, i, e)
            a = a + e
            i += LANES
        return reduce_add(a + b)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, rows: int, n: int, x_scale: float, y_scale: float, y_zero: int,
        workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        terms = workspace + thread * workspace_bytes
        scale, point = splat(_F(x_scale)), splat(_F(y_zero))
        most = splat(_F(largest - y_zero))
        for row in range(rows * part // parts, rows * until // parts):
            source, target = x + row * n, y + row * n
            total = exponentials(source, terms, n, splat(row_max(source, n)), scale)
            # The sum is at least 1, and shares are not below zero.
            factor, i = splat(_F(1.0) / (total * _F(y_scale))), 0
            while i + LANES <= n:
                store(target, i, vrint(vmin(vload(terms, i) * factor, most)) + point)
                i += LANES
            if i < n:
                whole = vrint(vmin(vload(terms, i) * factor, most)) + point
                store_first(target, i, whole, n - i)
        return 0

    return body


def workspace_bytes(n: Any) -> Any:
    """Bytes of workspace for each thread: of whole vectors."""
    return (n + LANES - 1) // LANES * LANES * 4
