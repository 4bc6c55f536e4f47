"""Softmax and LogSoftmax along one axis, float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer, kernel_factory
from ..simd import (
    extract,
    load_f32,
    reduce_add,
    splat,
    stack_words,
    vload,
    vload_first,
    vmax,
    vstore_first,
)
from ..target import LANES

_F = np.float32
_WORDS = LANES // 2


@njit
def _row_max(x: Pointer, n: int) -> Any:
    best = splat(_F(-np.inf))
    i = 0
    while i + LANES <= n:
        best = vmax(vload(x, i), best)
        i += LANES
    top = _F(-np.inf)
    for lane in range(LANES):
        top = max(top, extract(best, lane))
    while i < n:
        top = max(top, load_f32(x, i))
        i += 1
    return top


@njit
def _first_lanes(value: Any, count: int) -> Any:
    """The value with lanes from ``count`` on set to zero."""
    words = stack_words(_WORDS)
    vstore_first(words, 0, value, count)
    return vload_first(words, 0, count)


@kernel_factory
def softmax(logarithm: int) -> Callable[..., int]:
    """Softmax (0) or LogSoftmax (1).

    The tensor is seen as o0 x o1 positions (strides of x and y), the axis (n, xs, ys) and an
    inner axis (m, xm, ym). When the axis has stride 1 rows are vectorized, else the inner axis,
    which then has stride 1. Rows of which all elements are -inf give NaN, as in onnxruntime.
    """

    @njit
    def row(x: Pointer, y: Pointer, n: int) -> None:
        top = splat(_row_max(x, n))
        total = splat(_F(0.0))
        i = 0
        while i + LANES <= n:
            e = vmath.exp(vload(x, i) - top)
            if logarithm == 0:
                vstore_first(y, i, e, LANES)
            total = total + e
            i += LANES
        if i < n:
            e = _first_lanes(vmath.exp(vload_first(x, i, n - i) - top), n - i)
            if logarithm == 0:
                vstore_first(y, i, e, n - i)
            total = total + e
        if logarithm != 0:
            shift = top + vmath.log(splat(reduce_add(total)))
            for j in range(0, n, LANES):
                vstore_first(y, j, vload_first(x, j, n - j) - shift, n - j)
        else:
            scale = splat(_F(1.0) / reduce_add(total))
            for j in range(0, n, LANES):
                vstore_first(y, j, vload_first(y, j, n - j) * scale, n - j)

    @njit
    def columns(x: Pointer, y: Pointer, n: int, xs: int, ys: int, count: int) -> None:
        top = splat(_F(-np.inf))
        for i in range(n):
            top = vmax(vload_first(x, i * xs, count), top)
        total = splat(_F(0.0))
        for i in range(n):
            e = vmath.exp(vload_first(x, i * xs, count) - top)
            if logarithm == 0:
                vstore_first(y, i * ys, e, count)
            total = total + e
        if logarithm != 0:
            shift = top + vmath.log(total)
            for i in range(n):
                vstore_first(y, i * ys, vload_first(x, i * xs, count) - shift, count)
        else:
            scale = splat(_F(1.0)) / total
            for i in range(n):
                vstore_first(y, i * ys, vload_first(y, i * ys, count) * scale, count)

    def body(
        thread: int, threads: int, x: Pointer, y: Pointer, o0: int, o1: int, x0: int, x1: int,
        y0: int, y1: int, n: int, xs: int, ys: int, m: int, xm: int, ym: int,
    ) -> int:  # fmt: skip
        if n == 0 or o0 * o1 * m == 0:
            return 0
        if o0 * o1 * n * m < 2048:
            if thread > 0:
                return 0
            threads = 1
        along_rows = xs == 1 and ys == 1
        chunks = m if along_rows else (m + LANES - 1) // LANES
        work = o0 * o1 * chunks
        for index in range(work * thread // threads, work * (thread + 1) // threads):
            chunk, rest = index % chunks, index // chunks
            i1, i0 = rest % o1, rest // o1
            source, target = x + (i0 * x0 + i1 * x1) * 4, y + (i0 * y0 + i1 * y1) * 4
            if along_rows:
                row(source + chunk * xm * 4, target + chunk * ym * 4, n)
            elif xm == 1 and ym == 1:
                at = chunk * LANES
                columns(source + at * 4, target + at * 4, n, xs, ys, m - at)
            else:
                for lane in range(min(LANES, m - chunk * LANES)):
                    at = chunk * LANES + lane
                    columns(source + at * xm * 4, target + at * ym * 4, n, xs, ys, 1)
        return 0

    return body
