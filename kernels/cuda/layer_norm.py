"""Layer normalization: over dense rows."""

from __future__ import annotations

import math

import numpy as np

from ..fields import Pointer
from .blocks import F32_SUM
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_sums
from .memory import STORE, load_f32, store_f32
from .threads import cuda

_F = np.float32


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["rows"], f["n"], limits)


@cuda_factory
def layer_norm(rms: int, kind: str = "f32") -> Body:
    """Normalize rows: (x - mean) / sqrt(variance + epsilon) * scale + bias.

    With ``rms`` 1 the mean is taken to be 0. ``scale`` and ``bias`` have n elements or are null;
    ``means`` and ``inverses`` receive one element for each row unless null. The sums are taken
    twice, of the elements and then of their distances to the mean.
    """
    store = STORE[kind]

    def body(
        x: Pointer, y: Pointer, scale: Pointer, bias: Pointer, means: Pointer, inverses: Pointer,
        rows: int, n: int, x_row: int, y_row: int, epsilon: float, status: Pointer,
    ) -> None:  # fmt: skip
        size = 4 if kind == "f32" else 2
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, rows, step):
            row = begin + cuda.threadIdx.y
            count = n if row < rows else 0  # all threads come to the folds
            source, target = x + row * x_row * 4, y + row * y_row * size
            mean = _F(0)
            if rms == 0:
                for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                    mean += load_f32(source, j)
                mean = F32_SUM(mean) / _F(n)
            total = _F(0)
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                value = load_f32(source, j) - mean
                total += value * value
            variance = F32_SUM(total) / _F(n)
            factor = _F(1) / _F(math.sqrt(variance + _F(epsilon)))
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                value = (load_f32(source, j) - mean) * factor
                if scale != 0:
                    value *= load_f32(scale, j)
                if bias != 0:
                    value += load_f32(bias, j)
                store(target, j, value)
            if cuda.threadIdx.x == 0 and row < rows:
                if means != 0:
                    store_f32(means, row, mean)
                if inverses != 0:
                    store_f32(inverses, row, factor)

    return Body(body, _launch)
