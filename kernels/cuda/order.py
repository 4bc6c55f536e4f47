"""Operators along one axis: running sums and products, the k largest."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .kernel import Body, cuda_factory
from .launches import elements_of
from .memory import LOAD, SIZES, STORE
from .threads import cuda
from .top_k import top_k as top_k


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
