"""Generated tensors: constants, ranges, triangles, one-hot rows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import simd
from ..registry import INVALID_NUMBER, Pointer, kernel_factory
from ..simd import store_i64
from .elements import element, run_copier

MOST_ELEMENTS = 2.0**46
_CASTS = {"f32": np.float32, "f64": np.float64, "i64": np.int64, "i32": np.int32, "i16": np.int16}


@kernel_factory
def fill(itemsize: int) -> Callable[..., int]:
    """Set ``count`` contiguous elements of 1, 2, 4 or 8 bytes to the element at ``value``."""
    load, store = element(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int, y: Pointer, value: Pointer, count: int
    ) -> int:
        element_value = load(value, 0)
        begin = count * part // parts
        at = y + begin * itemsize
        for i in range(count * until // parts - begin):
            store(at, i, element_value)
        return 0

    return body


@kernel_factory
def arange(dtype: str) -> Callable[..., int]:
    """y[i] = start[0] + i * delta[0], rounded once; f32, f64, i16, i32 or i64."""
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    cast = _CASTS[dtype]

    def body(
        thread: int,
        part: int,
        until: int,
        parts: int,
        y: Pointer,
        start: Pointer,
        delta: Pointer,
        count: int,
    ) -> int:
        first, step = load(start, 0), load(delta, 0)
        for i in range(count * part // parts, count * until // parts):
            store(y, i, cast(first + i * step))
        return 0

    return body


@kernel_factory
def range_size(dtype: str) -> Callable[..., int]:
    """counted[0] = the number of elements from start[0] to limit[0] (exclusive), delta[0] apart.

    Error 4 of steps of zero and of numbers that are not finite.
    """
    load = getattr(simd, f"load_{dtype}")

    def body(
        thread: int, part: int, until: int, parts: int,
        counted: Pointer, start: Pointer, limit: Pointer, delta: Pointer,
    ) -> int:  # fmt: skip
        span = np.float64(load(limit, 0)) - np.float64(load(start, 0))
        step = np.float64(load(delta, 0))
        count = np.ceil(span / step) if step != 0.0 else np.inf
        if not abs(count) < MOST_ELEMENTS:
            return INVALID_NUMBER
        store_i64(counted, 0, max(np.int64(count), 0))
        return 0

    return body


@kernel_factory
def eye(itemsize: int) -> Callable[..., int]:
    """y[i, i + k] = the element at ``one``, else 0. Rows are split into parts."""
    load, store = element(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        y: Pointer, one: Pointer, rows: int, columns: int, k: int,
    ) -> int:  # fmt: skip
        value = load(one, 0)
        for row in range(rows * part // parts, rows * until // parts):
            for i in range(columns):
                store(y, row * columns + i, 0)
            if 0 <= row + k < columns:
                store(y, row * columns + row + k, value)
        return 0

    return body


@kernel_factory
def trilu(itemsize: int) -> Callable[..., int]:
    """Keep the upper (or lower) triangle of dense matrices; zero elsewhere.

    ``k`` shifts the diagonal to the right. Rows are split into parts.
    """
    _, store = element(itemsize)
    copy_run = run_copier(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, planes: int, rows: int, columns: int,
        k: int, upper: int,
    ) -> int:  # fmt: skip
        total = planes * rows
        k = min(max(k, -rows), columns)
        for row in range(total * part // parts, total * until // parts):
            at = row % rows + k
            if upper != 0:
                begin, end = min(max(at, 0), columns), columns
            else:
                begin, end = 0, min(max(at + 1, 0), columns)
            source, target = x + row * columns * itemsize, y + row * columns * itemsize
            for i in range(begin):
                store(target, i, 0)
            copy_run(target + begin * itemsize, source + begin * itemsize, end - begin)
            for i in range(end, columns):
                store(target, i, 0)
        return 0

    return body


@kernel_factory
def one_hot(itemsize: int, index: str) -> Callable[..., int]:
    """y[o, d, i] = values[1] where indices[o, i] is d, else values[0]; all dense.

    Indices are i32, i64 or f32; negative ones count from ``depth``, others out of range give
    rows of values[0]. Outer positions are split into parts.
    """
    load, store = element(itemsize)
    load_index = getattr(simd, f"load_{index}")

    def body(
        thread: int, part: int, until: int, parts: int,
        indices: Pointer, values: Pointer, y: Pointer, outer: int,
        depth: int, inner: int,
    ) -> int:  # fmt: skip
        off, on = load(values, 0), load(values, 1)
        for o in range(outer * part // parts, outer * until // parts):
            target = y + o * depth * inner * itemsize
            for i in range(depth * inner):
                store(target, i, off)
            for i in range(inner):
                index = load_index(indices, o * inner + i)
                # Of NaN neither is true.
                if index >= -depth and index < depth:
                    at = np.int64(index)
                    store(target, (at + depth if at < 0 else at) * inner + i, on)
        return 0

    return body
