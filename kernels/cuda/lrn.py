"""LRN: numbers divided by a power of the squares of neighbouring channels, channels last."""

from __future__ import annotations

import numpy as np

from ..fields import Pointer
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import load_f32, store_f32
from .threads import cuda

_F = np.float32


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["pixels"], f["channels"], limits)


@cuda_factory
def lrn(source: str, target: str, degree: int) -> Body | None:
    """Y = x * power(bias + scale * sum of squares of ``size`` channels, -beta), of float32.

    The fields are those of the CPU's kernel, whose forms for bytes there are not.
    """
    if (source, target, degree) != ("f32", "f32", 0):
        return None

    def body(
        x: Pointer, y: Pointer, pixels: int, channels: int, x_pixel: int, y_pixel: int, size: int,
        scale: float, bias: float, beta: float, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        before = (size - 1) // 2
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            for c in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                total = _F(0)
                for i in range(max(c - before, 0), min(c - before + size, channels)):
                    value = load_f32(x, pixel * x_pixel + i)
                    total += value * value
                power = (_F(bias) + _F(scale) * total) ** _F(-beta)
                store_f32(y, pixel * y_pixel + c, load_f32(x, pixel * x_pixel + c) * power)

    return Body(body, _launch)
