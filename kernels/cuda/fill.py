"""Tensors of one element, of counted numbers, diagonals and triangles."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.fill import MOST_ELEMENTS
from ..fields import Pointer
from ..registry import INVALID_NUMBER
from .elements import accesses
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import elements_of, over_tiles
from .memory import LOAD, STORE, store_i64
from .numbers import SCOPE
from .threads import cuda

_ceil = SCOPE["math_ceil_f64"]
_ZEROS: dict[int, Any] = {1: np.uint8(0), 2: np.uint16(0), 4: np.uint32(0), 8: np.uint64(0)}


@cuda_factory
def fill(itemsize: int) -> Body | None:
    """Set ``count`` elements to the element at ``value``."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(y: Pointer, value: Pointer, count: int, status: Pointer) -> None:
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            store(y, i, load(value, 0))

    return Body(body, elements_of("count"))


@cuda_factory
def arange(dtype: str) -> Body:
    """y[i] = start[0] + i * delta[0], rounded once."""
    load, store = LOAD[dtype], STORE[dtype]
    number: Any = {"f": np.float64, "i": np.int64}[dtype[0]]
    result: Any = np.dtype({"f": "float", "i": "int"}[dtype[0]] + dtype[1:]).type

    def body(y: Pointer, start: Pointer, delta: Pointer, count: int, status: Pointer) -> None:
        for i in range(cuda.grid(1), count, cuda.gridsize(1)):
            store(y, i, result(number(load(start, 0)) + number(i) * number(load(delta, 0))))

    return Body(body, elements_of("count"))


def _once(f: Fields, limits: Limits) -> Launch:
    return over_tiles(1, 1, limits)


@cuda_factory
def range_size(dtype: str) -> Body:
    """counted[0] = the number of elements from start[0] to limit[0] (exclusive), delta[0] apart.

    Error 4 of steps of zero and of numbers that are not finite.
    """
    load = LOAD[dtype]

    def body(
        counted: Pointer, start: Pointer, limit: Pointer, delta: Pointer, status: Pointer
    ) -> None:
        span = np.float64(load(limit, 0)) - np.float64(load(start, 0))
        step = np.float64(load(delta, 0))
        count = _ceil(span / step) if step != 0 else np.float64(np.inf)
        if abs(count) < MOST_ELEMENTS:
            store_i64(counted, 0, max(np.int64(count), np.int64(0)))
        else:
            store_i64(counted, 0, 0)
            store_i64(status, 0, INVALID_NUMBER)

    return Body(body, _once)


@cuda_factory
def eye(itemsize: int) -> Body | None:
    """y[i, i + k] = the element at ``one``, else 0."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]
    zero = _ZEROS[itemsize]

    def body(y: Pointer, one: Pointer, rows: int, columns: int, k: int, status: Pointer) -> None:
        for i in range(cuda.grid(1), rows * columns, cuda.gridsize(1)):
            store(y, i, load(one, 0) if i // columns + k == i % columns else zero)

    return Body(body, elements_of("rows", "columns"))


@cuda_factory
def trilu(itemsize: int) -> Body | None:
    """Keep the upper (or lower) triangle of dense matrices; ``k`` shifts the diagonal right."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]
    zero = _ZEROS[itemsize]

    def body(
        x: Pointer, y: Pointer, planes: int, rows: int, columns: int, k: int, upper: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        for i in range(cuda.grid(1), planes * rows * columns, cuda.gridsize(1)):
            # k may be as large as an int64 is.
            right = i % columns - i // columns % rows
            is_kept = right >= k if upper != 0 else right <= k
            store(y, i, load(x, i) if is_kept else zero)

    return Body(body, elements_of("planes", "rows", "columns"))


@cuda_factory
def one_hot(itemsize: int, index: str) -> Body | None:
    """y[o, d, i] = values[1] where indices[o, i] is d, else values[0]; all dense.

    Negative indices count from ``depth``, others out of range give rows of values[0].
    """
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]
    load_index = LOAD[index]

    def body(
        indices: Pointer, values: Pointer, y: Pointer, outer: int, depth: int, inner: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        for i in range(cuda.grid(1), outer * depth * inner, cuda.gridsize(1)):
            d = i // inner % depth
            given = load_index(indices, i // (inner * depth) * inner + i % inner)
            # Fractions are cut off, of numbers within the range.
            is_inside = given >= -depth and given < depth
            at = np.int64(given) if is_inside else np.int64(-1 - depth)
            store(y, i, load(values, 1 if at == d or at + depth == d else 0))

    return Body(body, elements_of("outer", "depth", "inner"))
