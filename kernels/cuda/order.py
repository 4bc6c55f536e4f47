"""Operators along one axis: position of the extreme, running sums and products."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from ..registry import TOO_FEW_ELEMENTS
from .functions import device_function
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, SIZES, STORE, store_i64
from .threads import cuda


@cuda_factory
def arg_extreme(dtype: str, largest: int) -> Body:
    """ArgMax (1) or ArgMin (0) along the middle of three axes; int64 result, a thread for each.

    Of equal elements the first is taken, or the last with ``last`` 1.
    """
    load, size = LOAD[dtype], SIZES[dtype]

    def body(
        x: Pointer, y: Pointer, outer: int, n: int, inner: int,
        x_outer: int, x_axis: int, x_inner: int, last: int, status: Pointer,
    ) -> None:  # fmt: skip
        for index in range(cuda.grid(1), outer * inner, cuda.gridsize(1)):
            source = x + (index // inner * x_outer + index % inner * x_inner) * size
            best, place = load(source, 0), 0
            for j in range(1, n):
                value = load(source, j * x_axis)
                better = value > best if largest != 0 else value < best
                if better or (last != 0 and value == best):
                    best, place = value, j
            store_i64(y, index, place)

    return Body(body, elements_of("outer", "inner"))


@cuda_factory
def cumulative(dtype: str, operation: str) -> Body:
    """Running ``"sum"`` or ``"product"`` along the middle of three dense axes, a thread for each.

    ``exclusive`` leaves out the element itself, ``reverse`` begins at the end.
    """
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    number: Any = np.dtype(
        {"f": "float", "i": "int", "u": "uint"}[dtype[0]] + dtype[1:]
    ).type  # fmt: skip
    is_sum = operation == "sum"
    first = number(0 if is_sum else 1)

    def body(
        x: Pointer, y: Pointer, outer: int, n: int, inner: int, exclusive: int, reverse: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        for index in range(cuda.grid(1), outer * inner, cuda.gridsize(1)):
            at = (index // inner * n * inner + index % inner) * size
            running = first
            for j in range(n):
                i = (n - 1 - j if reverse != 0 else j) * inner
                value = load(x + at, i)
                if exclusive != 0:
                    store(y + at, i, running)
                running = number(running + value) if is_sum else number(running * value)
                if exclusive == 0:
                    store(y + at, i, running)

    return Body(body, elements_of("outer", "inner"))


@device_function("boolean")
def _ranks_higher(a: Any, b: Any, largest: Any) -> Any:
    """Tell whether a comes before b; NaN is larger than any number, as in numpy's sorting."""
    if largest != 0:
        return a > b or (a != a and b == b)
    return a < b or (b != b and a == a)


@cuda_factory
def top_k(dtype: str, largest: int) -> Body:
    """Give the ``k`` largest (1) or smallest (0) elements along the middle of three dense axes.

    values and indices (int64) have sizes outer, k, inner, in sorted order; of equal elements the
    one with the lower index comes first. A thread for each line takes the next one k times, which
    is right and slow where k is large.
    """
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]

    def body(
        x: Pointer, values: Pointer, indices: Pointer, outer: int, n: int, inner: int, k: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        if k > n:
            store_i64(status, 0, TOO_FEW_ELEMENTS)
            return
        for line in range(cuda.grid(1), outer * inner, cuda.gridsize(1)):
            source = x + (line // inner * n * inner + line % inner) * size
            target = line // inner * k * inner + line % inner
            last, place = load(source, 0), -1
            for rank in range(k):
                best, found = last, -1
                for i in range(n):
                    value = load(source, i * inner)
                    # Behind the last one taken, in the order of ranks and then of indices.
                    is_left = place < 0 or _ranks_higher(last, value, largest)
                    is_left = is_left or (i > place and not _ranks_higher(value, last, largest))
                    if is_left and (found < 0 or _ranks_higher(value, best, largest)):
                        best, found = value, i
                store(values, target + rank * inner, best)
                store_i64(indices, target + rank * inner, found)
                last, place = best, found

    return Body(body, elements_of("outer", "inner"))
