"""Reductions over any axes, and the operators made of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd, vmath
from ..registry import Pointer, kernel_factory
from ..simd import splat, vabs, vload, vload_first, vmax, vmin, vstore_first
from ..target import LANES

_F = np.float32
_TYPES = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32, "u8": np.uint8,
          "i8": np.int8}  # fmt: skip
KINDS = ("sum", "mean", "max", "min", "prod", "sum_square", "l1", "l2", "log_sum")


def _start(kind: str, dtype: Any) -> Any:
    if kind == "max":
        return -np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).min
    if kind == "min":
        return np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    return 1 if kind == "prod" else 0


@njit
def _square_in(a: Any, b: Any) -> Any:
    return a + b * b


@njit
def _abs_in(a: Any, b: Any) -> Any:
    return a + abs(b)


@njit
def _vabs_in(a: Any, b: Any) -> Any:
    return a + vabs(b)


@njit
def _add(a: Any, b: Any) -> Any:
    return a + b


@njit
def _multiply(a: Any, b: Any) -> Any:
    return a * b


@njit
def _larger(a: Any, b: Any) -> Any:
    return a if (a >= b or a != a) else b


@njit
def _smaller(a: Any, b: Any) -> Any:
    return a if (a <= b or a != a) else b


@njit
def _vlarger(a: Any, b: Any) -> Any:
    # The operand that may be NaN must come first; a NaN already found stays.
    return simd.select(a != a, a, vmax(b, a))


@njit
def _vsmaller(a: Any, b: Any) -> Any:
    return simd.select(a != a, a, vmin(b, a))


_SCALAR_STEP = {"max": _larger, "min": _smaller, "prod": _multiply, "sum_square": _square_in,
                "l1": _abs_in, "l2": _square_in}  # fmt: skip
_VECTOR_STEP = {"max": _vlarger, "min": _vsmaller, "prod": _multiply, "sum_square": _square_in,
                "l1": _vabs_in, "l2": _square_in}  # fmt: skip


def _finish(kind: str) -> Callable[[Any, Any], Any]:
    if kind == "mean":
        return lambda total, count: total / count
    if kind == "l2":
        return lambda total, count: np.sqrt(total)
    if kind == "log_sum":
        return lambda total, count: np.log(total)
    return lambda total, count: total


@kernel_factory
def reduce(kind: str, dtype: str) -> Callable[..., int]:
    """Reduce up to four axes and keep up to four; outermost first, unused sizes 1.

    ``k*`` are the kept sizes with strides of x and y, ``r*`` the reduced ones with strides of x.
    float32 is explicit SIMD when the last kept or the last reduced axis has stride 1. Integers
    accumulate in int64. Kept positions are split over the threads.
    """
    made = _TYPES[dtype]
    wide = np.float64 if dtype == "f64" else (np.float32 if dtype == "f32" else np.int64)
    start = wide(_start(kind, made))
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    step = _SCALAR_STEP.get(kind, _add)
    vector_step = _VECTOR_STEP.get(kind, _add)
    finish = njit(error_model="numpy")(_finish(kind))
    vectors = dtype == "f32"
    between = _SCALAR_STEP.get(kind, _add) if kind in ("max", "min", "prod") else _add

    if vectors:

        @njit
        def columns(
            x: Pointer, y: Pointer, n: int, r0: int, r1: int, r2: int, r3: int, a0: int, a1: int,
            a2: int, a3: int, count: int,
        ) -> None:  # fmt: skip
            """Keep n contiguous columns."""
            for c in range(0, n, LANES):
                total = splat(start)
                for i0 in range(r0):
                    for i1 in range(r1):
                        part = splat(start)
                        for i2 in range(r2):
                            at = x + (i0 * a0 + i1 * a1 + i2 * a2 + c) * 4
                            if n - c >= LANES:
                                for i3 in range(r3):
                                    part = vector_step(part, vload(at, i3 * a3))
                            else:
                                for i3 in range(r3):
                                    part = vector_step(part, vload_first(at, i3 * a3, n - c))
                        total = combine(total, part)
                vstore_first(y, c, finish_vector(total, _F(count)), n - c)

        combine = vector_step if kind in ("max", "min", "prod") else _add
        if kind == "mean":
            finish_vector = njit(lambda total, count: total / splat(count))
        elif kind == "l2":
            finish_vector = njit(lambda total, count: simd.vsqrt(total))
        elif kind == "log_sum":
            finish_vector = njit(lambda total, count: vmath.log(total))
        else:
            finish_vector = njit(lambda total, count: total)

        @njit
        def contiguous(x: Pointer, n: int) -> Any:
            """Reduce n contiguous elements."""
            total = start
            if n >= LANES:
                a = splat(start)
                i = 0
                while i + LANES <= n:
                    a = vector_step(a, vload(x, i))
                    i += LANES
                for lane in range(LANES):
                    total = between(total, simd.extract(a, lane))
                x, n = x + i * 4, n - i
            for i in range(n):
                total = step(total, load(x, i))
            return total

    else:

        @njit
        def columns(
            x: Pointer, y: Pointer, n: int, r0: int, r1: int, r2: int, r3: int, a0: int, a1: int,
            a2: int, a3: int, count: int,
        ) -> None:  # fmt: skip
            return

        @njit
        def contiguous(x: Pointer, n: int) -> Any:
            return start

    def body(
        thread: int, threads: int, x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int,
    ) -> int:  # fmt: skip
        count = r0 * r1 * r2 * r3
        if k0 * k1 * k2 * k3 * max(count, 1) < 4096:
            if thread > 0:
                return 0
            threads = 1
        by_column = vectors and xk3 == 1 and yk3 == 1 and k3 > 1
        outer = k0 * k1 * k2
        first, last, c_first, c_last = 0, outer, 0, k3
        if outer >= 2 * threads or k3 < threads * LANES:
            first, last = outer * thread // threads, outer * (thread + 1) // threads
        else:
            chunks = (k3 + LANES - 1) // LANES
            c_first = chunks * thread // threads * LANES
            c_last = min(k3, chunks * (thread + 1) // threads * LANES)
        size = itemsize
        for index in range(first, last):
            i2, i1, i0 = index % k2, index // k2 % k1, index // k2 // k1
            source = x + (i0 * xk0 + i1 * xk1 + i2 * xk2) * size
            target = y + (i0 * yk0 + i1 * yk1 + i2 * yk2) * size
            if by_column:
                n = c_last - c_first
                columns(
                    source + c_first * 4, target + c_first * 4, n, r0, r1, r2, r3, xr0, xr1, xr2,
                    xr3, count,
                )  # fmt: skip
                continue
            for c in range(c_first, c_last):
                total = start
                for j0 in range(r0):
                    for j1 in range(r1):
                        for j2 in range(r2):
                            at = source + (c * xk3 + j0 * xr0 + j1 * xr1 + j2 * xr2) * size
                            if vectors and xr3 == 1:
                                total = between(total, contiguous(at, r3))
                            else:
                                part = start
                                for j3 in range(r3):
                                    part = step(part, wide(load(at, j3 * xr3)))
                                total = between(total, part)
                store(target, c * yk3, made(finish(total, wide(count))))
        return 0

    itemsize = np.dtype(made).itemsize
    return body
