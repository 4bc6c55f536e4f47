"""Operators along one axis: position of the extreme, running sums and products, the k largest."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, SIZES, STORE, store_i64
from .threads import cuda
from .top_k import top_k as top_k


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
