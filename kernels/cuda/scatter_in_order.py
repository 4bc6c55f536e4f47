"""Scatters of types that no atomic change takes: those of 8 and 16 bits.

What may meet in one element is done by one thread, in order: results are those of the CPU.
"""

from __future__ import annotations

from typing import Any

from ..fields import Pointer
from .functions import device_function
from .indices import index_within, place_of
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, STORE
from .numbers import SCOPE
from .threads import cuda
from .walks import offset_of


@device_function()
def _new(old: Any, new: Any) -> Any:
    return new


@device_function()
def _sum(old: Any, new: Any) -> Any:
    return old + new


@device_function()
def _product(old: Any, new: Any) -> Any:
    return old * new


@device_function()
def _larger(old: Any, new: Any) -> Any:
    return old if old >= new or old != old else new


@device_function()
def _smaller(old: Any, new: Any) -> Any:
    return old if old <= new or old != old else new


_COMBINE = {"none": _new, "add": _sum, "mul": _product, "max": _larger, "min": _smaller}


@cuda_factory
def scatter_elements(dtype: str, index: str, reduction: str) -> Body:
    """Combine updates[i] into y[i with coordinate ``axis`` replaced by indices[i]].

    y already holds the data; updates and indices are dense. ``d*`` are the sizes of indices,
    ``y*`` the strides of y except that of the axis, which is 0 there and ``y_axis`` instead;
    ``size`` is that axis' size in y. A thread for each line along the axis.
    """
    load, store, combine = LOAD[dtype], STORE[dtype], _COMBINE[reduction]
    load_index, cast = LOAD[index], SCOPE[f"cast_{dtype}"]

    def body(
        indices: Pointer, updates: Pointer, y: Pointer, size: int, y_axis: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int, status: Pointer,
    ) -> None:  # fmt: skip
        dims, strides = (d7, d6, d5, d4, d3, d2, d1, d0), (y7, y6, y5, y4, y3, y2, y1, y0)
        # The axis is the one of stride 0; of one element it may be any, so it is the last.
        length, apart, own, total = d7, 1, y7, 1
        for axis in range(8):
            if dims[axis] > 1 and strides[axis] == 0:
                length, apart, own = dims[axis], total, 0
            total *= dims[axis]
        for line in range(cuda.grid(1), total // max(length, 1), cuda.gridsize(1)):
            first = line // apart * length * apart + line % apart
            target = offset_of(first, dims, strides)
            for j in range(length):
                i = first + j * apart
                at = index_within(status, load_index(indices, i), size)
                if at >= 0:
                    place = target + j * own + at * y_axis
                    store(y, place, cast(combine(load(y, place), load(updates, i))))

    return Body(body, elements_of("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"))


@cuda_factory
def scatter_nd(dtype: str, reduction: str) -> Body:
    """Combine updates[j, :] into y[indices[j, 0], ..., indices[j, depth - 1], :].

    y already holds the data; int64 indices and updates are dense, ``inner`` elements of y are. A
    thread for each of these.
    """
    load, store, combine = LOAD[dtype], STORE[dtype], _COMBINE[reduction]
    cast = SCOPE[f"cast_{dtype}"]

    def body(
        indices: Pointer, updates: Pointer, y: Pointer, count: int, depth: int, inner: int,
        s0: int, s1: int, s2: int, s3: int, s4: int, s5: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, status: Pointer,
    ) -> None:  # fmt: skip
        sizes, strides = (s0, s1, s2, s3, s4, s5), (y0, y1, y2, y3, y4, y5)
        for i in range(cuda.grid(1), inner, cuda.gridsize(1)):
            for row in range(count):
                place = place_of(status, indices, row, depth, sizes, strides)
                if place >= 0:
                    new = load(updates, row * inner + i)
                    store(y, place + i, cast(combine(load(y, place + i), new)))

    return Body(body, elements_of("inner"))
