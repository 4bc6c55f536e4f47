"""The k largest or smallest elements along an axis, in order."""

from __future__ import annotations

from typing import Any

from ..fields import Pointer
from ..registry import TOO_FEW_ELEMENTS
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_elements
from .memory import LOAD, SIZES, STORE, store_i64
from .threads import cuda


@device_function("boolean")
def _above(a: Any, b: Any) -> Any:
    """Tell whether a is larger; NaN is larger than any number, as in numpy's sorting."""
    return a > b or (a != a and b == b)


@device_function("boolean")
def _below(a: Any, b: Any) -> Any:
    return a < b or (b != b and a == a)


def _launch(f: Fields, limits: Limits) -> Launch:
    # Of no elements, too, a thread tells that there are too few.
    return over_elements(max(f["outer"] * f["n"], 1) * f["inner"], limits)


@cuda_factory
def top_k(dtype: str, largest: int) -> Body:
    """Give the ``k`` largest (1) or smallest (0) elements along the middle of three dense axes.

    Of equal elements the one with the lower index comes first. A thread for each element counts
    those that come before it, from its neighbours outward, until there are k: few comparisons for
    most elements, in whatever order they lie. The ``scratch`` of the CPU's kernel is not needed.
    """
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    before = _above if largest != 0 else _below

    def body(
        x: Pointer, values: Pointer, indices: Pointer, outer: int, n: int, inner: int, k: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        if k > n:
            store_i64(status, 0, TOO_FEW_ELEMENTS)
            return
        for index in range(cuda.grid(1), outer * n * inner, cuda.gridsize(1)):
            own, column, line = index // inner % n, index % inner, index // (inner * n)
            source = x + (line * n * inner + column) * size
            value, rank = load(source, own * inner), 0
            distance, farthest = 1, max(own, n - 1 - own)
            while rank < k and distance <= farthest:
                if distance <= own and not before(value, load(source, (own - distance) * inner)):
                    rank += 1  # an equal one of a lower index comes first
                if own + distance < n and before(load(source, (own + distance) * inner), value):
                    rank += 1
                distance += 1
            if rank < k:
                at = (line * k + rank) * inner + column
                store(values, at, value)
                store_i64(indices, at, own)

    return Body(body, _launch)
