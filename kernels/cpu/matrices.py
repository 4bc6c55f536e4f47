"""Small matrices: determinants, inverses, and grids of affine maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_f64, store_f64

_CASTS = {"f32": np.float32, "f64": np.float64}


@njit
def _leading_row(a: Pointer, k: int, n: int, width: int) -> int:
    """Row from k on, of rows of ``width`` f64, whose number in column k is the largest."""
    best = k
    for i in range(k + 1, n):
        if abs(load_f64(a, i * width + k)) > abs(load_f64(a, best * width + k)):
            best = i
    return best


@njit
def _eliminate(a: Pointer, n: int) -> Any:
    """Determinant of a dense f64 matrix, which is overwritten: the largest of a column leads."""
    determinant = 1.0
    for k in range(n):
        best = _leading_row(a, k, n, n)
        if best != k:
            determinant = -determinant
            for j in range(k, n):
                above, below = load_f64(a, k * n + j), load_f64(a, best * n + j)
                store_f64(a, k * n + j, below)
                store_f64(a, best * n + j, above)
        pivot = load_f64(a, k * n + k)
        determinant *= pivot
        if pivot == 0.0:
            return determinant
        for i in range(k + 1, n):
            factor = load_f64(a, i * n + k) / pivot
            for j in range(k + 1, n):
                value = load_f64(a, i * n + j) - factor * load_f64(a, k * n + j)
                store_f64(a, i * n + j, value)
    return determinant


@kernel_factory
def determinant(dtype: str) -> Callable[..., int]:
    """y[i] = the determinant of dense square matrix i; ``scratch`` is room for one a thread."""
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    cast = _CASTS[dtype]

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, count: int, n: int, scratch: Pointer, scratch_bytes: int,
    ) -> int:  # fmt: skip
        own = scratch + thread * scratch_bytes
        for matrix in range(count * part // parts, count * until // parts):
            for i in range(n * n):
                store_f64(own, i, np.float64(load(x, matrix * n * n + i)))
            store(y, matrix, cast(_eliminate(own, n)))
        return 0

    return body


@njit
def _invert(a: Pointer, n: int) -> bool:
    """Gauss-Jordan on rows of f64, first a matrix, then its inverse; tells whether there is one.

    The largest of a column leads.
    """
    width = 2 * n
    for k in range(n):
        best = _leading_row(a, k, n, width)
        pivot = load_f64(a, best * width + k)
        if pivot == 0.0:
            return False
        for j in range(k, width):
            above, below = load_f64(a, k * width + j), load_f64(a, best * width + j)
            store_f64(a, best * width + j, above)
            store_f64(a, k * width + j, below / pivot)
        for i in range(n):
            factor = load_f64(a, i * width + k)
            if i != k and factor != 0.0:
                for j in range(k, width):
                    value = load_f64(a, i * width + j) - factor * load_f64(a, k * width + j)
                    store_f64(a, i * width + j, value)
    return True


@kernel_factory
def inverse(dtype: str) -> Callable[..., int]:
    """y[i] = the inverse of dense square matrix i, NaN where it has none.

    ``scratch`` is room for two matrices a thread.
    """
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    cast = _CASTS[dtype]

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, count: int, n: int, scratch: Pointer, scratch_bytes: int,
    ) -> int:  # fmt: skip
        own = scratch + thread * scratch_bytes
        for matrix in range(count * part // parts, count * until // parts):
            first = matrix * n * n
            for i in range(n):
                for j in range(n):
                    store_f64(own, 2 * n * i + j, np.float64(load(x, first + i * n + j)))
                    store_f64(own, 2 * n * i + n + j, 1.0 if i == j else 0.0)
            is_regular = _invert(own, n)
            for i in range(n):
                for j in range(n):
                    value = load_f64(own, 2 * n * i + n + j) if is_regular else np.nan
                    store(y, first + i * n + j, cast(value))
        return 0

    return body


@njit
def _coordinate(index: int, size: int, align_corners: int) -> Any:
    """Position of a pixel on an axis from -1 to 1."""
    if align_corners == 0:
        return (2.0 * index + 1.0) / size - 1.0
    return 2.0 * index / (size - 1) - 1.0 if size > 1 else -1.0


@kernel_factory
def affine_grid(dtype: str, rank: int) -> Callable[..., int]:
    """y[image, pixel] = theta[image] (rank, rank + 1) times the pixel's position and 1.

    Pixels are of (depth, height, width); positions are x, y and, with a rank of 3, z. Rows of
    pixels are split into parts.
    """
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    cast = _CASTS[dtype]
    columns = rank + 1

    def body(
        thread: int, part: int, until: int, parts: int,
        theta: Pointer, y: Pointer, images: int, depth: int, height: int, width: int,
        align_corners: int,
    ) -> int:  # fmt: skip
        lines = images * depth * height
        for line in range(lines * part // parts, lines * until // parts):
            h, d = line % height, line // height % depth
            first = line // height // depth * rank * columns
            v = _coordinate(h, height, align_corners)
            z = _coordinate(d, depth, align_corners)
            for w in range(width):
                u = _coordinate(w, width, align_corners)
                for i in range(rank):
                    row = first + i * columns
                    total = np.float64(load(theta, row + rank))
                    total += np.float64(load(theta, row)) * u + np.float64(load(theta, row + 1)) * v
                    if rank == 3:
                        total += np.float64(load(theta, row + 2)) * z
                    store(y, (line * width + w) * rank + i, cast(total))
        return 0

    return body
