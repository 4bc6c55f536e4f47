"""Softmax and its logarithm along an axis."""

from __future__ import annotations

import math

import numpy as np

from ..fields import Pointer
from .blocks import F32_MAX, F32_SUM, larger
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_sums
from .memory import load_f32, store_f32
from .threads import cuda

_F = np.float32


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_sums(f["o0"] * f["o1"] * f["m"] if f["n"] else 0, f["n"], limits, f["xs"])


@cuda_factory
def softmax(logarithm: int, zeros: int = 0) -> Body:
    """Compute softmax of ``n`` elements ``xs`` apart, for o0 x o1 x m of them.

    Of what is -inf throughout it is NaN, or with ``zeros`` zero.
    """

    def body(
        x: Pointer, y: Pointer, o0: int, o1: int, x0: int, x1: int,
        y0: int, y1: int, n: int, xs: int, ys: int, m: int, xm: int, ym: int, status: Pointer,
    ) -> None:  # fmt: skip
        rows = o0 * o1 * m
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, rows, step):
            row = begin + cuda.threadIdx.y
            count = n if row < rows else 0  # all threads come to the folds
            i2, i1, i0 = row % m, row // m % o1, row // m // o1
            source = x + (i0 * x0 + i1 * x1 + i2 * xm) * 4
            target = y + (i0 * y0 + i1 * y1 + i2 * ym) * 4
            top = _F(-np.inf)
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                top = larger(top, load_f32(source, j * xs))
            top = F32_MAX(top)
            if zeros != 0 and top == _F(-np.inf):
                top = _F(0)
            total = _F(0)
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                total += _F(math.exp(load_f32(source, j * xs) - top))
            total = F32_SUM(total)
            if logarithm != 0:
                shift = _F(top + _F(math.log(total))) if total > 0 else top
                for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                    store_f32(target, j * ys, load_f32(source, j * xs) - shift)
            else:
                factor = _F(1) / total if zeros == 0 or total > 0 else _F(0)
                for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                    value = _F(math.exp(load_f32(source, j * xs) - top))
                    store_f32(target, j * ys, value * factor)

    return Body(body, _launch)
