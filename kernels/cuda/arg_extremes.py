"""Positions of extremes along an axis."""

from __future__ import annotations

from ..fields import Pointer
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, SIZES, store_i64
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
