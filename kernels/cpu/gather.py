"""Gather, GatherElements and GatherND: reading at indices that tensors hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .. import simd
from ..registry import MANY, Pointer, kernel_factory
from ..simd import load_i64, stack_words, store_i64
from .elements import RANK, advance, element, offset_of, run_copier, start_odometer
from .indices import out_of_range


@kernel_factory
def gather(itemsize: int, index: str) -> Callable[..., int]:
    """y[o, j, :] = x[o, indices[j], :] for indices of ``"i32"`` or ``"i64"``.

    The axis has ``size`` elements in x (stride ``x_axis``) and ``count`` in y (``y_axis``);
    ``inner`` elements are dense. Negative indices count from the end; others beyond the ends
    give error 1. Rows are split into parts.
    """
    load_index = getattr(simd, f"load_{index}")
    copy_run = run_copier(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, indices: Pointer, y: Pointer, outer: int, size: int,
        inner: int, count: int, x_outer: int, x_axis: int, y_outer: int, y_axis: int,
    ) -> int:  # fmt: skip
        rows = outer * count
        first, last, begin, end = rows * part // parts, rows * until // parts, 0, inner
        if rows < MANY:
            first, last = 0, rows
            begin, end = inner * part // parts, inner * until // parts
        if first == last:
            return 0
        o, j = first // count, first % count
        for _ in range(first, last):
            at = load_index(indices, j)
            if at < 0:
                at += size
            if at < 0 or at >= size:
                return out_of_range(load_index(indices, j))
            source = x + (o * x_outer + at * x_axis + begin) * itemsize
            copy_run(y + (o * y_outer + j * y_axis + begin) * itemsize, source, end - begin)
            j += 1
            if j == count:
                o, j = o + 1, 0
        return 0

    return body


@kernel_factory
def gather_elements(itemsize: int, index: str) -> Callable[..., int]:
    """y[i] = x[i with coordinate ``axis`` replaced by indices[i]]; y and indices are dense.

    ``d*`` are the sizes of indices, ``x*`` the strides of x except that of the axis, which is 0
    there and ``x_axis`` instead; ``size`` is the size of that axis in x.
    """
    load, store = element(itemsize)
    load_index = getattr(simd, f"load_{index}")

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, indices: Pointer, y: Pointer, size: int, x_axis: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int,
    ) -> int:  # fmt: skip
        dims, strides, position = stack_words(8), stack_words(8), stack_words(8)
        shape, steps = (d0, d1, d2, d3, d4, d5, d6, d7), (x0, x1, x2, x3, x4, x5, x6, x7)
        total = 1
        for axis in range(RANK):
            store_i64(dims, axis, shape[axis])
            store_i64(strides, axis, steps[axis])
            total *= shape[axis]
        first, last = total * part // parts, total * until // parts
        if first == last:
            return 0
        start_odometer(dims, position, first)
        origin = offset_of(position, strides)
        for i in range(first, last):
            at = load_index(indices, i)
            if at < 0:
                at += size
            if at < 0 or at >= size:
                return out_of_range(load_index(indices, i))
            store(y, i, load(x, origin + at * x_axis))
            origin = advance(dims, position, strides, origin)
        return 0

    return body


@njit
def locate(indices: Pointer, row: int, depth: int, sizes: Any, strides: Any) -> Any:
    """Offset that a row of int64 indices names, or the negated error code of one out of range."""
    at = 0
    for axis in range(depth):
        i = load_i64(indices, row * depth + axis)
        if i < 0:
            i += sizes[axis]
        if i < 0 or i >= sizes[axis]:
            return -out_of_range(load_i64(indices, row * depth + axis))
        at += i * strides[axis]
    return at


@kernel_factory
def gather_nd(itemsize: int) -> Callable[..., int]:
    """y[b, j, :] = x[b, indices[b, j, 0], ..., indices[b, j, depth - 1], :]; int64 indices.

    ``depth`` is at most six; ``s*`` are the sizes of the indexed axes (unused: 1) and ``x*``
    their strides, innermost axis last in use, that is axis i of the indexed ones is ``s{i}``.
    ``inner`` elements are dense in x; indices and y are dense.
    """
    copy_run = run_copier(itemsize)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, indices: Pointer, y: Pointer, batch: int, count: int,
        depth: int, inner: int, x_batch: int,
        s0: int, s1: int, s2: int, s3: int, s4: int, s5: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int,
    ) -> int:  # fmt: skip
        sizes, strides = (s0, s1, s2, s3, s4, s5), (x0, x1, x2, x3, x4, x5)
        rows = batch * count
        for row in range(rows * part // parts, rows * until // parts):
            at = locate(indices, row, depth, sizes, strides)
            if at < 0:
                return -at
            source = x + (row // count * x_batch + at) * itemsize
            copy_run(y + row * inner * itemsize, source, inner)
        return 0

    return body
