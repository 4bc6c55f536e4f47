"""Folds and scans over the threads of a block: each of its rows of threads (x) has its own.

The threads of a warp exchange their values, then those of a block what their warps have. The number
of threads in a row is a power of two; all threads of the block call these functions. The order of a
sum depends on that number only.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .functions import device_function
from .threads import cuda
from .warps import WARP, exchange

MOST_THREADS = 256
"""Threads of a block that folds."""
_WARPS = MOST_THREADS // WARP


@device_function()
def larger(a: Any, b: Any) -> Any:
    """Return the maximum, NaN if one is."""
    return a if a >= b or a != a else b


@device_function()
def smaller(a: Any, b: Any) -> Any:
    """Return the minimum, NaN if one is."""
    return a if a <= b or a != a else b


@device_function()
def plus(a: Any, b: Any) -> Any:
    """Return the sum."""
    return a + b


@device_function()
def times(a: Any, b: Any) -> Any:
    """Return the product."""
    return a * b


COMBINE = {"max": larger, "min": smaller, "prod": times, "sum": plus}


@functools.cache
def block_fold(kind: str, dtype: Any) -> Any:
    """Return a function ``fold(value)`` that combines the values of a row of threads."""
    combine, swap = COMBINE[kind], exchange("xor", dtype)

    @device_function()
    def fold(value: Any) -> Any:
        width = cuda.blockDim.x
        distance = min(width, WARP) // 2
        while distance > 0:
            value = dtype(combine(value, swap(value, distance)))
            distance = distance // 2
        if width > WARP:
            partial = cuda.shared.array(_WARPS, dtype)
            first = cuda.threadIdx.y * width // WARP
            if cuda.threadIdx.x % WARP == 0:
                partial[first + cuda.threadIdx.x // WARP] = value
            cuda.syncthreads()
            value = partial[first]
            for i in range(1, width // WARP):
                value = dtype(combine(value, partial[first + i]))
            cuda.syncthreads()  # before the next fold writes
        return value

    return fold


@functools.cache
def column_fold(kind: str, dtype: Any) -> Any:
    """Return a function ``fold(value)`` that combines the values of a column of threads (y)."""
    combine = COMBINE[kind]

    @device_function()
    def fold(value: Any) -> Any:
        partial = cuda.shared.array(MOST_THREADS, dtype)
        row, width = cuda.threadIdx.y, cuda.blockDim.x
        own = row * width + cuda.threadIdx.x
        partial[own] = value
        cuda.syncthreads()
        half = cuda.blockDim.y // 2
        while half > 0:
            if row < half:
                partial[own] = dtype(combine(partial[own], partial[own + half * width]))
            cuda.syncthreads()
            half = half // 2
        value = partial[cuda.threadIdx.x]
        cuda.syncthreads()  # before the next fold writes
        return value

    return fold


@functools.cache
def block_scan(kind: str, dtype: Any) -> Any:
    """Return a function ``scan(value)`` that combines those of the first threads up to the own."""
    combine, before = COMBINE[kind], exchange("up", dtype)

    @device_function()
    def scan(value: Any) -> Any:
        width, lane = cuda.blockDim.x, cuda.threadIdx.x % WARP
        distance = 1
        while distance < min(width, WARP):
            other = before(value, distance)
            if lane >= distance:
                value = dtype(combine(other, value))
            distance = distance * 2
        if width > WARP:
            partial = cuda.shared.array(_WARPS, dtype)
            first, own = cuda.threadIdx.y * width // WARP, cuda.threadIdx.x // WARP
            if lane == WARP - 1:
                partial[first + own] = value
            cuda.syncthreads()
            if own > 0:
                total = partial[first]
                for i in range(1, own):
                    total = dtype(combine(total, partial[first + i]))
                value = dtype(combine(total, value))
            cuda.syncthreads()  # before the next scan writes
        return value

    return scan


@functools.cache
def of_last(dtype: Any) -> Any:
    """Return a function ``last(value)`` that gives the value of the last thread of a row."""

    @device_function()
    def last(value: Any) -> Any:
        if cuda.blockDim.x == 1:
            return value
        values = cuda.shared.array(MOST_THREADS, dtype)
        if cuda.threadIdx.x == cuda.blockDim.x - 1:
            values[cuda.threadIdx.y] = value
        cuda.syncthreads()
        value = values[cuda.threadIdx.y]
        cuda.syncthreads()  # before the next one writes
        return value

    return last


F32_SUM, F32_MAX = block_fold("sum", np.float32), block_fold("max", np.float32)
I64_SUM, I64_MAX = block_fold("sum", np.int64), block_fold("max", np.int64)
I64_SCAN, I64_LAST = block_scan("sum", np.int64), of_last(np.int64)
