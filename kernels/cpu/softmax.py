"""Softmax and LogSoftmax along one axis, float32."""

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
    vload,
    vload_first,
    vmax,
    vstore,
    vstore_first,
)
from ..target import LANES

_F = np.float32
_LOWEST = _F(-np.inf)
_ZERO = _F(0.0)


@njit
def _row_max(x: Pointer, n: int) -> Any:
    """Maximum of a row; it may miss a NaN, which its exponential then shows."""
    a, b = splat(_LOWEST), splat(_LOWEST)
    i = 0
    while i + 2 * LANES <= n:
        a, b = vmax(a, vload(x, i)), vmax(b, vload(x, i + LANES))
        i += 2 * LANES
    while i < n:
        v = vload_first(x, i, n - i)
        a = vmax(a, select(first(n - i), v, splat(_LOWEST)))
        i += LANES
    return reduce_max(vmax(a, b))


@njit
def _row_exponentials(x: Pointer, y: Pointer, n: int, top: Any, keep: Any) -> Any:
    """Sum of exp(x - top); the terms go to y when ``keep`` is true."""
    a, b = splat(_ZERO), splat(_ZERO)
    i = 0
    while i + 2 * LANES <= n:
        e, f = (
            vmath.exp_below_one(vload(x, i) - top),
            vmath.exp_below_one(vload(x, i + LANES) - top),
        )
        if keep:
            vstore(y, i, e)
            vstore(y, i + LANES, f)
        a, b = a + e, b + f
        i += 2 * LANES
    while i < n:
        e = vmath.exp_below_one(vload_first(x, i, n - i) - top)
        if keep:
            vstore_first(y, i, e, n - i)
        a = a + select(first(n - i), e, splat(_ZERO))
        i += LANES
    return reduce_add(a + b)


@njit
def _row_map(x: Pointer, y: Pointer, n: int, top: Any, factor: Any, shift: Any) -> None:
    """Write (x - top) * factor - shift."""
    i = 0
    while i + LANES <= n:
        vstore(y, i, (vload(x, i) - top) * factor - shift)
        i += LANES
    if i < n:
        vstore_first(y, i, (vload_first(x, i, n - i) - top) * factor - shift, n - i)


@kernel_factory
def softmax(logarithm: int, zeros: int = 0) -> Callable[..., int]:
    """Softmax (0) or LogSoftmax (1).

    The tensor is seen as o0 x o1 positions (strides of x and y), the axis (n, xs, ys) and an
    inner axis (m, xm, ym). When the axis has stride 1 rows are vectorized, else the inner axis,
    which then has stride 1. Softmax of rows of which all elements are -inf is NaN, as in
    onnxruntime, or with ``zeros`` zero.
    """

    @njit
    def row(x: Pointer, y: Pointer, n: int) -> None:
        top = _row_max(x, n)
        if zeros and top == _LOWEST:
            top = _ZERO
        total = _row_exponentials(x, y, n, splat(top), logarithm == 0)
        if logarithm == 0:
            factor = _F(0.0) if zeros and total == _ZERO else _F(1.0) / total
            _row_map(y, y, n, splat(_ZERO), splat(factor), splat(_ZERO))
        else:
            # In this order nothing is lost when the row's numbers are large.
            _row_map(x, y, n, splat(top), splat(_F(1.0)), vmath.log(splat(total)))

    @njit
    def short_row(x: Pointer, y: Pointer, n: int) -> None:
        """Softmax of a row that a register holds."""
        v, inside = vload_first(x, 0, n), first(n)
        top = reduce_max(select(inside, v, splat(_LOWEST)))
        if zeros and top == _LOWEST:
            top = _ZERO
        e = select(inside, vmath.exp_below_one(v - splat(top)), splat(_ZERO))
        total = reduce_add(e)
        factor = _F(0.0) if zeros and total == _ZERO else _F(1.0) / total
        vstore_first(y, 0, e * splat(factor), n)

    @njit
    def columns(x: Pointer, y: Pointer, n: int, xs: int, ys: int, count: int) -> None:
        top = splat(_LOWEST)
        for i in range(n):
            top = vmax(top, vload_first(x, i * xs, count))
        if zeros:
            top = select(top == splat(_LOWEST), splat(_ZERO), top)
        total = splat(_ZERO)
        for i in range(n):
            e = vmath.exp_below_one(vload_first(x, i * xs, count) - top)
            if logarithm == 0:
                vstore_first(y, i * ys, e, count)
            total = total + e
        if logarithm == 0:
            scale = splat(_F(1.0)) / total
            if zeros:
                scale = select(total == splat(_ZERO), splat(_ZERO), scale)
            for i in range(n):
                vstore_first(y, i * ys, vload_first(y, i * ys, count) * scale, count)
        else:
            shift = vmath.log(total)
            for i in range(n):
                vstore_first(y, i * ys, vload_first(x, i * xs, count) - top - shift, count)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, o0: int, o1: int, x0: int, x1: int,
        y0: int, y1: int, n: int, xs: int, ys: int, m: int, xm: int, ym: int,
    ) -> int:  # fmt: skip
        if n == 0 or o0 * o1 * m == 0:
            return 0
        along_rows = xs == 1 and ys == 1
        dense = xm == 1 and ym == 1
        width = 1 if along_rows or not dense else LANES
        chunks = (m + width - 1) // width
        work = o0 * o1 * chunks
        begin, end = work * part // parts, work * until // parts
        chunk, remaining = begin % chunks, begin // chunks
        i1, i0 = remaining % o1, remaining // o1
        for _ in range(begin, end):
            at = chunk * width
            source = x + (i0 * x0 + i1 * x1 + at * xm) * 4
            target = y + (i0 * y0 + i1 * y1 + at * ym) * 4
            if along_rows and logarithm == 0 and n <= LANES:
                short_row(source, target, n)
            elif along_rows:
                row(source, target, n)
            else:
                columns(source, target, n, xs, ys, min(width, m - at))
            chunk += 1
            if chunk == chunks:
                chunk, i1 = 0, i1 + 1
                if i1 == o1:
                    i1, i0 = 0, i0 + 1
        return 0

    return body
