"""Random numbers: Philox 4x32-10, as in the CPU's kernels, whose fields these have."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import block_fold, block_scan, of_last
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory, cuda_kernel
from .launches import over_elements, over_scratches, over_tiles
from .memory import LOAD, STORE, load_i64, nanoseconds, store_i64
from .threads import cuda

_U: Any = np.uint64
_LOW, _SHIFT = _U(0xFFFFFFFF), _U(32)
_FIRST, _SECOND = _U(0xD2511F53), _U(0xCD9E8D57)
_FIRST_KEY, _SECOND_KEY = _U(0x9E3779B9), _U(0xBB67AE85)
_ROUNDS = 10
_D = np.float64
_load_f64, _store_f64 = LOAD["f64"], STORE["f64"]
_MAX, _SCAN, _LAST = block_fold("max", _D), block_scan("sum", _D), of_last(_D)


@device_function("uint64 x 4")
def _block(number: Any, key: Any) -> Any:
    """Return four words of 32 bits."""
    a, b, c, d = _U(number) & _LOW, _U(number) >> _SHIFT, _U(0), _U(0)
    k, m = _U(key) & _LOW, _U(key) >> _SHIFT
    for _ in range(_ROUNDS):
        p, q = a * _FIRST, c * _SECOND
        a, b, c, d = (q >> _SHIFT) ^ b ^ k, q & _LOW, (p >> _SHIFT) ^ d ^ m, p & _LOW
        k, m = (k + _FIRST_KEY) & _LOW, (m + _SECOND_KEY) & _LOW
    return a, b, c, d


@device_function("float64")
def _fraction(high: Any, low: Any) -> Any:
    """Return a multiple of 2**-53 from 0 on, below 1, of 53 of 64 bits."""
    return _D(np.int64(((high << _SHIFT) | low) >> _U(11))) * _D(2.0**-53)


@device_function("int64")
def _mixed(bits: Any) -> Any:
    number = _U(bits)
    number = (number ^ (number >> _U(33))) * _U(0xFF51AFD7ED558CCD)
    number = (number ^ (number >> _U(33))) * _U(0xC4CEB9FE1A85EC53)
    return np.int64(number ^ (number >> _U(33)))


def _once(f: Fields, limits: Limits) -> Launch:
    return over_tiles(1, 1, limits)


@cuda_kernel(_once)
def random_key(key: Pointer, status: Pointer) -> None:
    """key[0] = another number each time: the time, mixed with the number before."""
    store_i64(key, 0, _mixed(_mixed(nanoseconds()) ^ load_i64(key, 0)))


def _numbers(per: int) -> Any:
    def launch(f: Fields, limits: Limits) -> Launch:
        return over_elements(-(-f["count"] // per), limits)

    return launch


@cuda_factory
def random_uniform(dtype: str) -> Body:
    """y[i] = a number of f32 or f64 from ``low`` to ``high``; four, or two, to a block of words."""
    store_f32, store_f64 = STORE["f32"], STORE["f64"]
    f32: Any = np.float32

    def doubles(
        y: Pointer, key: Pointer, count: int, low: float, high: float, status: Pointer
    ) -> None:
        own = load_i64(key, 0)
        for block in range(cuda.grid(1), (count + 1) // 2, cuda.gridsize(1)):
            a, b, c, d = _block(block, own)
            store_f64(y, 2 * block, low + (high - low) * _fraction(a, b))
            if 2 * block + 1 < count:
                store_f64(y, 2 * block + 1, low + (high - low) * _fraction(c, d))

    def singles(
        y: Pointer, key: Pointer, count: int, low: float, high: float, status: Pointer
    ) -> None:
        own = load_i64(key, 0)
        for block in range(cuda.grid(1), (count + 3) // 4, cuda.gridsize(1)):
            words = _block(block, own)
            for i in range(4):
                if 4 * block + i < count:
                    fraction = f32(np.int64(words[i] >> _U(8))) * f32(2.0**-24)
                    store_f32(y, 4 * block + i, f32(low) + f32(high - low) * fraction)

    return Body(doubles, _numbers(2)) if dtype == "f64" else Body(singles, _numbers(4))


def _rows(f: Fields, limits: Limits) -> Launch:
    return over_scratches(f["rows"], limits)


@cuda_factory
def multinomial(dtype: str, result: str) -> Body:
    """y[row, j] = a class, by logarithms of probabilities that need not sum to 1.

    A block of threads has a row: it sums up probabilities, and looks samples up in the sums.
    """
    load, store = LOAD[dtype], STORE[result]
    cast: Any = {"i32": np.int32, "i64": np.int64}[result]

    def body(
        x: Pointer, y: Pointer, key: Pointer, rows: int, classes: int, samples: int,
        scratch: Pointer, scratch_bytes: int, status: Pointer,
    ) -> None:  # fmt: skip
        own, sums = load_i64(key, 0), scratch + cuda.blockIdx.x * scratch_bytes
        for row in range(cuda.blockIdx.x, rows, cuda.gridDim.x):
            most = _D(-np.inf)
            for i in range(cuda.threadIdx.x, classes, cuda.blockDim.x):
                most = max(most, _D(load(x, row * classes + i)))
            most, total = _MAX(most), _D(0)
            for first in range(0, classes, cuda.blockDim.x):
                i, part = first + cuda.threadIdx.x, _D(0)
                if i < classes:
                    part = _D(math.exp(_D(load(x, row * classes + i)) - most))
                reached = total + _SCAN(part)
                if i < classes:
                    _store_f64(sums, i, reached)
                total = _LAST(reached)
            for j in range(cuda.threadIdx.x, samples, cuda.blockDim.x):
                words = _block(row * samples + j, own)
                wanted, low, high = _fraction(words[0], words[1]) * total, 0, classes - 1
                while low < high:
                    middle = (low + high) // 2
                    if _load_f64(sums, middle) > wanted:
                        high = middle
                    else:
                        low = middle + 1
                store(y, row * samples + j, cast(low))
            cuda.syncthreads()

    return Body(body, _rows)
