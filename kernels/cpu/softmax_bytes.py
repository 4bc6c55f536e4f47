"""Softmax of rows of bytes in a scale of their own, as bytes in another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..quotients import is_ordinary, reciprocal, rounded_quotient
from ..registry import Pointer, kernel_factory
from ..simd import (
    first,
    reduce_add,
    reduce_max,
    select,
    splat,
    vload,
    vmax,
    vmin,
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
    limits = np.iinfo(np.int8 if result == "i8" else np.uint8)
    least, largest = limits.min, limits.max

    @njit
    def row_max(x: Pointer, n: int) -> Any:
        low = splat(_F(-128.0))
        top, i = low, 0
        while i + LANES <= n:
            top = vmax(top, load(x, i))
            i += LANES
        if i < n:
            top = vmax(top, select(first(n - i), load_first(x, i, n - i), low))
        return reduce_max(top)

    @njit
    def exponentials(x: Pointer, terms: Pointer, n: int, top: Any, scale: Any) -> Any:
        """Write exp((x - top) * scale), and give their sum."""
        total, i = splat(_F(0.0)), 0
        while i + LANES <= n:
            e = vmath.exp_below_one((load(x, i) - top) * scale)
            vstore(terms, i, e)
            total = total + e
            i += LANES
        if i < n:
            e = vmath.exp_below_one((load_first(x, i, n - i) - top) * scale)
            e = select(first(n - i), e, splat(_F(0.0)))
            vstore(terms, i, e)
            total = total + e
        return reduce_add(total)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, rows: int, n: int, x_scale: float, y_scale: float, y_zero: int,
        workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        terms = workspace + thread * workspace_bytes
        scale, unit, point = splat(_F(x_scale)), splat(_F(y_scale)), splat(_F(y_zero))
        inverse, ordinary = reciprocal(_F(y_scale)), is_ordinary(_F(y_scale))
        low, high = splat(_F(least - y_zero)), splat(_F(largest - y_zero))
        for row in range(rows * part // parts, rows * until // parts):
            source, target = x + row * n, y + row * n
            total = exponentials(source, terms, n, splat(row_max(source, n)), scale)
            factor, i = splat(_F(1.0) / total), 0
            while i < n:
                whole = rounded_quotient(vload(terms, i) * factor, unit, inverse, ordinary)
                whole = vmin(vmax(whole, low), high) + point
                if i + LANES <= n:
                    store(target, i, whole)
                else:
                    store_first(target, i, whole, n - i)
                i += LANES
        return 0

    return body


def workspace_bytes(n: Any) -> Any:
    """Bytes of workspace for each thread: of whole vectors."""
    return (n + LANES - 1) // LANES * LANES * 4
