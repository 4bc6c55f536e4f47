"""Determinants and inverses of small matrices, and grids of affine transformations.

A block of threads has a matrix, which it eliminates in float64 in memory of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import elements_of, over_scratches
from .memory import LOAD, STORE
from .threads import cuda

_load, _store = LOAD["f64"], STORE["f64"]
_CASTS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}
_D = np.float64


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_scratches(f["count"], limits)


@device_function("int64")
def _leading_row(a: Any, k: Any, n: Any, width: Any) -> Any:
    """Return the row from k on whose number in column k is the largest."""
    best = k
    for i in range(k + 1, n):
        if abs(_load(a, i * width + k)) > abs(_load(a, best * width + k)):
            best = i
    return best


@device_function("void")
def _swap_rows(a: Any, one: Any, other: Any, first: Any, width: Any) -> None:
    for j in range(first + cuda.threadIdx.x, width, cuda.blockDim.x):
        above, below = _load(a, one * width + j), _load(a, other * width + j)
        _store(a, one * width + j, below)
        _store(a, other * width + j, above)


@device_function("void")
def _subtract_row(a: Any, k: Any, begin: Any, n: Any, width: Any) -> None:
    """Subtract multiples of row k from those from ``begin`` on, so that column k becomes zero.

    The column itself is left as it is, for all threads read it.
    """
    pivot, columns = _load(a, k * width + k), width - k - 1
    for e in range(cuda.threadIdx.x, (n - begin) * columns, cuda.blockDim.x):
        i, j = begin + e // columns, k + 1 + e % columns
        if i != k:
            factor = _load(a, i * width + k) / pivot
            _store(a, i * width + j, _load(a, i * width + j) - factor * _load(a, k * width + j))


@cuda_factory
def determinant(dtype: str) -> Body:
    """y[i] = the determinant of dense square matrix i; ``scratch`` is room for one a block."""
    load, store, cast = LOAD[dtype], STORE[dtype], _CASTS[dtype]

    def body(
        x: Pointer, y: Pointer, count: int, n: int, scratch: Pointer, scratch_bytes: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        own = scratch + cuda.blockIdx.x * scratch_bytes
        for matrix in range(cuda.blockIdx.x, count, cuda.gridDim.x):
            cuda.syncthreads()
            for i in range(cuda.threadIdx.x, n * n, cuda.blockDim.x):
                _store(own, i, _D(load(x, matrix * n * n + i)))
            value = _D(1)
            for k in range(n):
                cuda.syncthreads()
                best = _leading_row(own, k, n, n)
                cuda.syncthreads()
                if best != k:
                    value = -value
                    _swap_rows(own, k, best, k, n)
                cuda.syncthreads()
                pivot = _load(own, k * n + k)
                value *= pivot
                if pivot != 0:
                    _subtract_row(own, k, k + 1, n, n)
            if cuda.threadIdx.x == 0:
                store(y, matrix, cast(value))

    return Body(body, _launch)


@cuda_factory
def inverse(dtype: str) -> Body:
    """y[i] = the inverse of dense square matrix i, NaN where it has none.

    ``scratch`` is room for two matrices a block: rows of the matrix, then of its inverse.
    """
    load, store, cast = LOAD[dtype], STORE[dtype], _CASTS[dtype]

    def body(
        x: Pointer, y: Pointer, count: int, n: int, scratch: Pointer, scratch_bytes: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        own, width = scratch + cuda.blockIdx.x * scratch_bytes, 2 * n
        for matrix in range(cuda.blockIdx.x, count, cuda.gridDim.x):
            first, is_regular = matrix * n * n, True
            cuda.syncthreads()
            for e in range(cuda.threadIdx.x, n * n, cuda.blockDim.x):
                i, j = e // n, e % n
                _store(own, width * i + j, _D(load(x, first + e)))
                _store(own, width * i + n + j, _D(1) if i == j else _D(0))
            for k in range(n):
                cuda.syncthreads()
                best = _leading_row(own, k, n, width)
                cuda.syncthreads()
                if best != k:
                    _swap_rows(own, k, best, k, width)
                cuda.syncthreads()
                is_regular = is_regular and _load(own, k * width + k) != 0
                if is_regular:
                    _subtract_row(own, k, 0, n, width)
            cuda.syncthreads()
            for e in range(cuda.threadIdx.x, n * n, cuda.blockDim.x):
                i, j = e // n, e % n
                value = _load(own, width * i + n + j) / _load(own, width * i + i)
                store(y, first + e, cast(value if is_regular else _D(np.nan)))

    return Body(body, _launch)


@device_function("float64")
def _coordinate(index: Any, size: Any, align_corners: Any) -> Any:
    """Return the position of a pixel on an axis from -1 to 1."""
    if align_corners == 0:
        return (_D(2) * _D(index) + _D(1)) / _D(size) - _D(1)
    return _D(2) * _D(index) / _D(size - 1) - _D(1) if size > 1 else _D(-1)


@cuda_factory
def affine_grid(dtype: str, rank: int) -> Body:
    """y[image, pixel] = theta[image] (rank, rank + 1) times the pixel's position and 1.

    Pixels are of (depth, height, width); positions are x, y and, with a rank of 3, z.
    """
    load, store, cast = LOAD[dtype], STORE[dtype], _CASTS[dtype]

    def body(
        theta: Pointer, y: Pointer, images: int, depth: int, height: int, width: int,
        align_corners: int, status: Pointer,
    ) -> None:  # fmt: skip
        for pixel in range(cuda.grid(1), images * depth * height * width, cuda.gridsize(1)):
            w, h, d = pixel % width, pixel // width % height, pixel // (width * height) % depth
            first = pixel // (width * height * depth) * rank * (rank + 1)
            u, v = _coordinate(w, width, align_corners), _coordinate(h, height, align_corners)
            z = _coordinate(d, depth, align_corners)
            for i in range(rank):
                row = first + i * (rank + 1)
                total = _D(load(theta, row + rank))
                total += _D(load(theta, row)) * u + _D(load(theta, row + 1)) * v
                if rank == 3:
                    total += _D(load(theta, row + 2)) * z
                store(y, pixel * rank + i, cast(total))

    return Body(body, elements_of("images", "depth", "height", "width"))
