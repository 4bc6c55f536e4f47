"""ScatterElements and ScatterND: writing at indices that tensors hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import stack_words, store_i64
from .elements import RANK, advance, offset_of
from .gather import locate
from .indices import out_of_range
from .reduce_steps import TYPES

_COMBINE: dict[str, Callable[[Any, Any], Any]] = {
    "none": lambda old, new: new,
    "add": lambda old, new: old + new,
    "mul": lambda old, new: old * new,
    "max": lambda old, new: old if old >= new or old != old else new,
    "min": lambda old, new: old if old <= new or old != old else new,
}


def _combiner(dtype: str, reduction: str) -> Callable[..., None]:
    load, store = getattr(simd, f"load_{dtype}"), getattr(simd, f"store_{dtype}")
    combine = njit(_COMBINE[reduction])
    cast = TYPES[dtype]

    @njit
    def put(y: Pointer, at: int, updates: Pointer, i: int) -> None:
        store(y, at, cast(combine(load(y, at), load(updates, i))))

    return put


@kernel_factory
def scatter_elements(dtype: str, index: str, reduction: str) -> Callable[..., int]:
    """Combine updates[i] into y[i with coordinate ``axis`` replaced by indices[i]].

    y already holds the data; updates and indices are dense. ``d*`` are the sizes of indices,
    ``y*`` the strides of y except that of the axis, which is 0 there and ``y_axis`` instead;
    ``size`` is that axis' size in y. ``reduction``: none, add, mul, max or min. One part
    works, for indices may repeat.
    """
    load_index = getattr(simd, f"load_{index}")
    put = _combiner(dtype, reduction)

    def body(
        thread: int, part: int, until: int, parts: int,
        indices: Pointer, updates: Pointer, y: Pointer, size: int,
        y_axis: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int,
    ) -> int:  # fmt: skip
        if part > 0:
            return 0
        dims, strides, position = stack_words(8), stack_words(8), stack_words(8)
        shape, steps = (d0, d1, d2, d3, d4, d5, d6, d7), (y0, y1, y2, y3, y4, y5, y6, y7)
        total = 1
        for axis in range(RANK):
            store_i64(dims, axis, shape[axis])
            store_i64(strides, axis, steps[axis])
            store_i64(position, axis, 0)
            total *= shape[axis]
        origin = offset_of(position, strides)
        for i in range(total):
            at = load_index(indices, i)
            if at < 0:
                at += size
            if at < 0 or at >= size:
                return out_of_range(load_index(indices, i))
            put(y, origin + at * y_axis, updates, i)
            origin = advance(dims, position, strides, origin)
        return 0

    return body


@kernel_factory
def scatter_nd(dtype: str, reduction: str) -> Callable[..., int]:
    """Combine updates[j, :] into y[indices[j, 0], ..., indices[j, depth - 1], :].

    y already holds the data; int64 indices and updates are dense, ``inner`` elements of y are.
    ``depth`` is at most six, ``s*`` and ``y*`` are sizes and strides of the indexed axes. The
    elements of a row are split into parts.
    """
    put = _combiner(dtype, reduction)

    def body(
        thread: int, part: int, until: int, parts: int,
        indices: Pointer, updates: Pointer, y: Pointer, count: int,
        depth: int, inner: int,
        s0: int, s1: int, s2: int, s3: int, s4: int, s5: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int,
    ) -> int:  # fmt: skip
        sizes, strides = (s0, s1, s2, s3, s4, s5), (y0, y1, y2, y3, y4, y5)
        begin, end = inner * part // parts, inner * until // parts
        for row in range(count):
            at = locate(indices, row, depth, sizes, strides)
            if at < 0:
                return -at
            for i in range(begin, end):
                put(y, at + i, updates, row * inner + i)
        return 0

    return body
