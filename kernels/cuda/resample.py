"""Sums along one axis by a table of positions and weights, as Resize makes it (on the CPU)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..fields import Pointer
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import LOAD, SIZES, STORE, load_i64
from .threads import cuda


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["outer"] * f["n_out"], f["inner"], limits)


@cuda_factory
def blend_axis(dtype: str) -> Body:
    """Resample the middle axis of dense (outer, n_in, inner) by tables of ``axis_weights``.

    What lies outside, of a count of 0, gets ``extrapolation``.
    """
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    number: Any = np.float32 if dtype == "f32" else np.float64

    def body(
        x: Pointer, y: Pointer, index: Pointer, weight: Pointer, width: int, outer: int, n_in: int,
        n_out: int, inner: int, extrapolation: float, status: Pointer,
    ) -> None:  # fmt: skip
        begin = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        for row in range(begin, outer * n_out, cuda.gridDim.y * cuda.blockDim.y):
            o, i = row // n_out, row % n_out
            first, count = load_i64(index, 2 * i), load_i64(index, 2 * i + 1)
            source = x + (o * n_in + first) * inner * size
            for c in range(column, inner, cuda.gridDim.x * cuda.blockDim.x):
                total = number(extrapolation) if count == 0 else number(0)
                for t in range(count):
                    total += load(source, t * inner + c) * load(weight, i * width + t)
                store(y, row * inner + c, total)

    return Body(body, _launch)
