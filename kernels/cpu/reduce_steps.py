"""Steps of reductions: what they begin with, how an element joins, and what is made of the sum."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer
from ..simd import stack_words

TYPES = {"f32": np.float32, "f64": np.float64} | {
    f"{sign}{bits}": getattr(np, f"{name}{bits}")
    for sign, name in (("i", "int"), ("u", "uint"))
    for bits in (8, 16, 32, 64)
}
KINDS = ("sum", "mean", "max", "min", "prod", "sum_square", "l1", "l2", "log_sum")
_BLOCK = 64  # columns whose results are in the first cache while rows are read


def start_of(kind: str, dtype: Any) -> Any:
    """Return what does not change a result."""
    if kind == "max":
        return -np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).min
    if kind == "min":
        return np.inf if np.issubdtype(dtype, np.floating) else np.iinfo(dtype).max
    return 1 if kind == "prod" else 0


def sum_type(kind: str, dtype: Any) -> Any:
    """Type that results are summed up in."""
    if kind in ("max", "min") or np.issubdtype(dtype, np.floating):
        return dtype
    return np.uint64 if dtype is np.uint64 else np.int64


@njit
def square_in(a: Any, b: Any) -> Any:
    """Add a square."""
    return a + b * b


@njit
def _abs_in(a: Any, b: Any) -> Any:
    return a + abs(b)


@njit
def add(a: Any, b: Any) -> Any:
    """Add an element."""
    return a + b


@njit
def multiply(a: Any, b: Any) -> Any:
    """Multiply by an element."""
    return a * b


@njit
def larger(a: Any, b: Any) -> Any:
    """Maximum; NaN where one of the two is."""
    return a if (a >= b or a != a) else b


@njit
def _smaller(a: Any, b: Any) -> Any:
    return a if (a <= b or a != a) else b


STEPS = {"max": larger, "min": _smaller, "prod": multiply, "sum_square": square_in, "l1": _abs_in,
         "l2": square_in}  # fmt: skip
FINISHES: dict[str, Callable[[Any, Any], Any]] = {
    "mean": lambda total, count: total / count,
    "l2": lambda total, count: np.sqrt(total),
    "log_sum": lambda total, count: np.log(total),
}


def same(total: Any, count: Any) -> Any:
    """Leave a sum as it is."""
    return total


def _types(kind: str, dtype: str) -> tuple[Any, Any, Any, int]:
    """Type of results, that of their sums, a sum of nothing, and the bytes of an element."""
    result_type = TYPES[dtype]
    wide = sum_type(kind, result_type)
    return result_type, wide, wide(start_of(kind, result_type)), np.dtype(result_type).itemsize


def _memory(dtype: str, wide: Any) -> list[Any]:
    """Intrinsics that load and store an element, and a sum."""
    name = next(key for key, each in TYPES.items() if each is wide)
    return [getattr(simd, f"{what}_{of}") for of in (dtype, name) for what in ("load", "store")]


def few_loop(kind: str, dtype: str) -> Any:
    """Return what reduces a few elements for each of ``n`` results, many results at a time."""
    result_type, wide, start, size = _types(kind, dtype)
    load, store, get, put = _memory(dtype, wide)
    step = STEPS.get(kind, add)
    finish = njit(error_model="numpy")(FINISHES.get(kind, same))

    @njit
    def few(
        x: Pointer, y: Pointer, n: int, x_step: int, y_step: int, r0: int, r1: int, r2: int,
        r3: int, a0: int, a1: int, a2: int, a3: int, count: int,
    ) -> None:  # fmt: skip
        totals = stack_words(_BLOCK)
        for c in range(0, n, _BLOCK):
            width = min(_BLOCK, n - c)
            for i in range(width):
                put(totals, i, start)
            for j in range(r0 * r1 * r2 * r3):
                i3, i2, i1, i0 = j % r3, j // r3 % r2, j // r3 // r2 % r1, j // r3 // r2 // r1
                at = x + (i0 * a0 + i1 * a1 + i2 * a2 + i3 * a3 + c * x_step) * size
                for i in range(width):
                    put(totals, i, wide(step(get(totals, i), wide(load(at, i * x_step)))))
            for i in range(width):
                store(y, (c + i) * y_step, result_type(finish(get(totals, i), wide(count))))

    return few


def number_loops(kind: str, dtype: str) -> tuple[Any, Any]:
    """Return ``columns``, which keeps contiguous columns, and ``contiguous``, which reduces.

    They are loops over numbers, written so that LLVM makes vectors of them.
    """
    result_type, wide, start, size = _types(kind, dtype)
    load, store, get, put = _memory(dtype, wide)
    step = STEPS.get(kind, add)
    join = step if kind in ("max", "min", "prod") else add
    finish = njit(error_model="numpy")(FINISHES.get(kind, same))
    is_float = dtype == "f64"

    @njit
    def columns(
        x: Pointer, y: Pointer, n: int, r0: int, r1: int, r2: int, r3: int, a0: int, a1: int,
        a2: int, a3: int, count: int,
    ) -> None:  # fmt: skip
        totals = stack_words(_BLOCK)
        for c in range(0, n, _BLOCK):
            width = min(_BLOCK, n - c)
            for i in range(width):
                put(totals, i, start)
            for i0 in range(r0):
                for i1 in range(r1):
                    for i2 in range(r2):
                        for i3 in range(r3):
                            at = x + (i0 * a0 + i1 * a1 + i2 * a2 + i3 * a3 + c) * size
                            for i in range(width):
                                put(totals, i, step(get(totals, i), wide(load(at, i))))
            for i in range(width):
                store(y, c + i, result_type(finish(get(totals, i), wide(count))))

    @njit
    def contiguous(x: Pointer, n: int) -> Any:
        total, i = start, 0
        if is_float:
            # Floats may not be summed in another order unless it is written down.
            t0, t1, t2, t3 = start, start, start, start
            t4, t5, t6, t7 = start, start, start, start
            while i + 8 <= n:
                t0, t1 = step(t0, load(x, i)), step(t1, load(x, i + 1))
                t2, t3 = step(t2, load(x, i + 2)), step(t3, load(x, i + 3))
                t4, t5 = step(t4, load(x, i + 4)), step(t5, load(x, i + 5))
                t6, t7 = step(t6, load(x, i + 6)), step(t7, load(x, i + 7))
                i += 8
            total = join(join(join(t0, t4), join(t2, t6)), join(join(t1, t5), join(t3, t7)))
        for j in range(i, n):
            total = wide(step(total, wide(load(x, j))))
        return total

    return columns, contiguous
