"""Positions of extremes along an axis: a row of threads has a line."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import MOST_THREADS
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_sums
from .memory import LOAD, SIZES, store_i64
from .threads import cuda
from .warps import WARP, exchange

_NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64} | {
    f"{name[0]}{bits}": getattr(np, f"{name}{bits}")
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
}
_WARPS = MOST_THREADS // WARP


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["outer"] * f["inner"], f["n"], limits, f["x_axis"])


def _is_better(largest: int) -> Any:
    """Return a function that tells whether another element, at ``at``, is to be taken.

    It is none if ``at`` is below zero. Of equal elements the one at the lower place is taken, or
    with ``last`` the other one; NaN only if there is nothing else.
    """

    @device_function("boolean")
    def is_better(value: Any, at: Any, best: Any, place: Any, last: Any) -> Any:
        if at < 0 or place < 0:
            return at >= 0
        if value == best:
            return at > place if last != 0 else at < place
        is_beyond = value > best if largest != 0 else value < best
        return is_beyond or (best != best and value == value)

    return is_better


def _fold(number: Any, is_better: Any) -> Any:
    """Return a function that gives the place of the best of a row of threads."""
    swap, swap_place = exchange("xor", number), exchange("xor", np.int64)

    @device_function("int64")
    def fold(best: Any, place: Any, last: Any) -> Any:
        width = cuda.blockDim.x
        distance = min(width, WARP) // 2
        while distance > 0:
            other, at = swap(best, distance), swap_place(place, distance)
            if is_better(other, at, best, place, last):
                best, place = other, at
            distance = distance // 2
        if width > WARP:
            numbers = cuda.shared.array(_WARPS, number)
            places = cuda.shared.array(_WARPS, np.int64)
            begin = cuda.threadIdx.y * width // WARP
            if cuda.threadIdx.x % WARP == 0:
                numbers[begin + cuda.threadIdx.x // WARP] = best
                places[begin + cuda.threadIdx.x // WARP] = place
            cuda.syncthreads()
            for i in range(width // WARP):
                if is_better(numbers[begin + i], places[begin + i], best, place, last):
                    best, place = numbers[begin + i], places[begin + i]
            cuda.syncthreads()  # before the next fold writes
        return place

    return fold


@cuda_factory
def arg_extreme(dtype: str, largest: int) -> Body:
    """ArgMax (1) or ArgMin (0) along the middle of three axes; int64 result.

    Of equal elements the first is taken, or the last with ``last`` 1. A NaN is only found where it
    comes first, as by the CPU's kernel.
    """
    load, size, number = LOAD[dtype], SIZES[dtype], _NUMBERS[dtype]
    is_better = _is_better(largest)
    fold = _fold(number, is_better)

    def body(
        x: Pointer, y: Pointer, outer: int, n: int, inner: int,
        x_outer: int, x_axis: int, x_inner: int, last: int, status: Pointer,
    ) -> None:  # fmt: skip
        lines = outer * inner
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, lines, step):
            index = begin + cuda.threadIdx.y
            count = n if index < lines else 0  # all threads come to the fold
            source = x + (index // inner * x_outer + index % inner * x_inner) * size
            best, place = number(0), -1
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                value = load(source, j * x_axis)
                if is_better(value, j, best, place, last):
                    best, place = value, j
            place = fold(best, place, last)
            if cuda.threadIdx.x == 0 and index < lines:
                if count > 0 and load(source, 0) != load(source, 0):
                    place = 0
                store_i64(y, index, place)

    return Body(body, _launch)
