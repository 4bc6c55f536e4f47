"""Reductions over any axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import COMBINE, block_fold
from .functions import device_function
from .kernel import Body, cuda_factory
from .launches import over_reduction
from .memory import LOAD, SIZES, STORE
from .threads import cuda

_TYPES = {"f32": np.float32, "f64": np.float64} | {
    f"{name[0]}{bits}": getattr(np, f"{name}{bits}")
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
}


@device_function()
def _same(value: Any, count: Any) -> Any:
    return value


@device_function()
def _square(value: Any, count: Any) -> Any:
    return value * value


@device_function()
def _absolute(value: Any, count: Any) -> Any:
    return value if value >= 0 else -value


@device_function()
def _mean(value: Any, count: Any) -> Any:
    return value / count


@device_function()
def _root(value: Any, count: Any) -> Any:
    return math.sqrt(value)


@device_function()
def _logarithm(value: Any, count: Any) -> Any:
    if value == 0:
        return -np.inf
    return math.log(value) if value > 0 else np.nan


_FOLDS = {
    "sum": ("sum", _same, _same), "mean": ("sum", _same, _mean), "max": ("max", _same, _same),
    "min": ("min", _same, _same), "prod": ("prod", _same, _same),
    "sum_square": ("sum", _square, _same), "l1": ("sum", _absolute, _same),
    "l2": ("sum", _square, _root), "log_sum": ("sum", _same, _logarithm),
}  # fmt: skip
"""How elements are combined, what is combined of each, and what becomes of the result."""


@cuda_factory
def reduce(kind: str, dtype: str) -> Body | None:
    """Reduce up to four axes and keep up to four; outermost first, unused sizes 1.

    ``k*`` are the remaining sizes with strides of x and y, ``r*`` the reduced ones with strides of
    x. Integers accumulate in 64 bits. A maximum or minimum of NaN is NaN; of nothing, the least or
    greatest number; a mean of nothing is 0.
    """
    number = _TYPES[dtype]
    is_float = np.issubdtype(number, np.floating)
    if not is_float and kind in ("mean", "l2", "log_sum"):
        return None  # these round as the CPU's kernel does
    wide = number if is_float or kind in ("max", "min") else np.int64
    wide = np.uint64 if dtype == "u64" and not is_float else wide
    way, taken, finished = _FOLDS[kind]
    start = wide(_start(way, number))
    combine, fold = COMBINE[way], block_fold(way, wide)
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]

    def body(
        x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int, status: Pointer,
    ) -> None:  # fmt: skip
        kept, reduced = k0 * k1 * k2 * k3, r0 * r1 * r2 * r3
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, kept, step):
            at = begin + cuda.threadIdx.y
            count = reduced if at < kept else 0  # all threads come to the fold
            i3, i2, i1, i0 = at % k3, at // k3 % k2, at // (k3 * k2) % k1, at // (k3 * k2 * k1)
            source = x + (i0 * xk0 + i1 * xk1 + i2 * xk2 + i3 * xk3) * size
            total = start
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                j3, j2, j1, j0 = j % r3, j // r3 % r2, j // (r3 * r2) % r1, j // (r3 * r2 * r1)
                value = wide(load(source, j0 * xr0 + j1 * xr1 + j2 * xr2 + j3 * xr3))
                total = wide(combine(total, wide(taken(value, 1))))
            total = fold(total)
            if cuda.threadIdx.x == 0 and at < kept:
                result = finished(total, wide(max(reduced, 1)))
                store(y, i0 * yk0 + i1 * yk1 + i2 * yk2 + i3 * yk3, number(result))

    return Body(body, over_reduction)


def _start(way: str, number: Any) -> Any:
    """Return what does not change a result."""
    if way == "sum":
        return 0
    if way == "prod":
        return 1
    sign = -1 if way == "max" else 1
    if np.issubdtype(number, np.floating):
        return sign * np.inf
    return np.iinfo(number).min if way == "max" else np.iinfo(number).max
