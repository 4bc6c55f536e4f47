"""Reductions over any axes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import COMBINE, block_fold, column_fold
from .functions import device_function
from .kernel import Body, cuda_factory
from .launches import are_columns, over_reduction
from .memory import LOAD, SIZES, STORE
from .numbers import WHOLE
from .threads import cuda
from .walks import offset_of

_TYPES = {"f32": np.float32, "f64": np.float64} | {
    f"{name[0]}{bits}": getattr(np, f"{name}{bits}")
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
}

as_columns = device_function("boolean")(are_columns)


@device_function()
def _same(value: Any, count: Any) -> Any:
    return value


@device_function()
def _square(value: Any, count: Any) -> Any:
    return value * value


@device_function()
def _absolute(value: Any, count: Any) -> Any:
    return value if value >= 0 else -value


def _finished(kind: str, number: Any) -> Any:
    """Return what becomes of a combination and the number of elements, in a type of floats."""

    def mean(value: Any, count: Any) -> Any:
        return number(value) / number(count)

    def root(value: Any, count: Any) -> Any:
        return number(math.sqrt(number(value)))

    def logarithm(value: Any, count: Any) -> Any:
        if value == 0:
            return number(-np.inf)
        return number(math.log(number(value))) if value > 0 else number(np.nan)

    function = {"mean": mean, "l2": root, "log_sum": logarithm}.get(kind)
    return device_function(np.dtype(number).name)(function) if function else _same


_FOLDS = {
    "sum": ("sum", _same), "mean": ("sum", _same), "max": ("max", _same), "min": ("min", _same),
    "prod": ("prod", _same), "sum_square": ("sum", _square), "l1": ("sum", _absolute),
    "l2": ("sum", _square), "log_sum": ("sum", _same),
}  # fmt: skip
"""How elements are combined, and what is combined of each."""


@cuda_factory
def reduce(kind: str, dtype: str) -> Body:
    """Reduce up to four axes and keep up to four; outermost first, unused sizes 1.

    ``k*`` are the remaining sizes with strides of x and y, ``r*`` the reduced ones with strides of
    x. Integers accumulate in 64 bits. A maximum or minimum of NaN is NaN; of nothing, the least or
    greatest number; a mean of nothing is 0.
    """
    number = _TYPES[dtype]
    is_float = np.issubdtype(number, np.floating)
    wide = number if is_float or kind in ("max", "min") else np.int64
    wide = np.uint64 if dtype == "u64" and not is_float else wide
    way, taken = _FOLDS[kind]
    finished = _finished(kind, number if is_float else np.float64)
    start = wide(_start(way, number))
    # Means and roots of integers are floats, which are cut off.
    is_cut = not is_float and kind in ("mean", "l2", "log_sum")
    cast = WHOLE[dtype] if is_cut else number
    combine, fold, fold_column = COMBINE[way], block_fold(way, wide), column_fold(way, wide)
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]

    def body(
        x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int, status: Pointer,
    ) -> None:  # fmt: skip
        kept, reduced, sizes = k0 * k1 * k2 * k3, r0 * r1 * r2 * r3, (k3, k2, k1, k0)
        by_columns = as_columns(xk3, xr3, k3, reduced)
        width, own, part, parts = (cuda.blockDim.y, cuda.threadIdx.y, cuda.threadIdx.x,
                                   cuda.blockDim.x)  # fmt: skip
        if by_columns:
            width, own, part, parts = parts, part, own, width
        for begin in range(cuda.blockIdx.x * width, kept, cuda.gridDim.x * width):
            at = begin + own
            count = reduced if at < kept else 0  # all threads come to the fold
            source = x + offset_of(at, sizes, (xk3, xk2, xk1, xk0)) * size
            total = start
            for j in range(part, count, parts):
                value = wide(load(source, offset_of(j, (r3, r2, r1, r0), (xr3, xr2, xr1, xr0))))
                total = wide(combine(total, wide(taken(value, 1))))
            total = fold_column(total) if by_columns else fold(total)
            if part == 0 and at < kept:
                result = finished(total, wide(max(reduced, 1)))
                store(y, offset_of(at, sizes, (yk3, yk2, yk1, yk0)), cast(result))

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
