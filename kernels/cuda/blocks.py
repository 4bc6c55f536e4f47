"""Folds over the threads of a block: each of its rows of threads (x) gets a value of its own."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .functions import device_function
from .threads import cuda

MOST_THREADS = 256
"""Threads of a block that folds."""


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
    """Return a function ``fold(value)`` that combines the values of a row of threads.

    The number of these is a power of two; all threads of the block call it. The order of the sum
    depends on that number only.
    """
    combine = COMBINE[kind]

    @device_function()
    def fold(value: Any) -> Any:
        width = cuda.blockDim.x
        if width == 1:
            return value
        partial = cuda.shared.array(MOST_THREADS, dtype)
        first = cuda.threadIdx.y * width
        own = first + cuda.threadIdx.x
        partial[own] = value
        cuda.syncthreads()
        half = width // 2
        while half > 0:
            if cuda.threadIdx.x < half:
                partial[own] = combine(partial[own], partial[own + half])
            cuda.syncthreads()
            half = half // 2
        result = partial[first]
        cuda.syncthreads()  # before the next fold writes
        return result

    return fold


F32_SUM, F32_MAX = block_fold("sum", np.float32), block_fold("max", np.float32)
