"""Operators along one axis: running sums and products, the k largest."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import COMBINE, block_scan, of_last
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_sums
from .memory import LOAD, SIZES, STORE
from .threads import cuda
from .top_k import top_k as top_k


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["outer"] * f["inner"], f["n"], limits, f["inner"])


@cuda_factory
def cumulative(dtype: str, operation: str) -> Body:
    """Running ``"sum"`` or ``"product"`` along the middle of three dense axes.

    ``exclusive`` leaves out the element itself, ``reverse`` begins at the end. A row of threads
    has a line: it scans some elements at a time, and adds what came before.
    """
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    number: Any = np.dtype(
        {"f": "float", "i": "int", "u": "uint"}[dtype[0]] + dtype[1:]
    ).type  # fmt: skip
    way = "sum" if operation == "sum" else "prod"
    neutral, combine = number(0 if way == "sum" else 1), COMBINE[way]
    scan, last = block_scan(way, number), of_last(number)

    def body(
        x: Pointer, y: Pointer, outer: int, n: int, inner: int, exclusive: int, reverse: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        width, lines = cuda.blockDim.x, outer * inner
        first, apart = (n - 1) * inner if reverse != 0 else 0, -inner if reverse != 0 else inner
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, lines, step):
            index = begin + cuda.threadIdx.y
            count = n if index < lines else 0  # all threads come to the scans
            at = (index // inner * n * inner + index % inner + first) * size
            running, j = neutral, cuda.threadIdx.x
            value = load(x + at, j * apart) if j < count else neutral
            for _ in range(0, n, width):
                reached = number(combine(running, scan(value)))
                # What is stored may lie where the next threads read.
                value = load(x + at, (j + width) * apart) if j + width < count else neutral
                running = last(reached)
                if exclusive == 0 and j < count:
                    store(y + at, j * apart, reached)
                if exclusive != 0 and j + 1 < count:
                    store(y + at, (j + 1) * apart, reached)
                if exclusive != 0 and j == 0 and count > 0:
                    store(y + at, 0, neutral)
                j += width

    return Body(body, _launch)
