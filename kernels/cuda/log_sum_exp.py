"""ReduceLogSumExp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import block_fold, larger
from .kernel import Body, cuda_factory
from .launches import over_reduction
from .memory import LOAD, SIZES, STORE
from .threads import cuda

_D = np.float64
_MAX, _SUM = block_fold("max", np.float64), block_fold("sum", np.float64)


@cuda_factory
def log_sum_exp(dtype: str) -> Body | None:
    """Compute log(sum(exp(x))), the maximum taken out first, in float64; fields of ``reduce``."""
    if dtype[0] != "f":
        return None
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    number: Any = np.float32 if dtype == "f32" else np.float64

    def body(
        x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int, status: Pointer,
    ) -> None:  # fmt: skip
        kept, reduced = k0 * k1 * k2 * k3, r0 * r1 * r2 * r3
        step = cuda.gridDim.x * cuda.blockDim.y
        for begin in range(cuda.blockIdx.x * cuda.blockDim.y, kept, step):
            at = begin + cuda.threadIdx.y
            count = reduced if at < kept else 0  # all threads come to the folds
            i3, i2, i1, i0 = at % k3, at // k3 % k2, at // (k3 * k2) % k1, at // (k3 * k2 * k1)
            source = x + (i0 * xk0 + i1 * xk1 + i2 * xk2 + i3 * xk3) * size
            top = _D(-np.inf)
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                j3, j2, j1, j0 = j % r3, j // r3 % r2, j // (r3 * r2) % r1, j // (r3 * r2 * r1)
                top = larger(top, _D(load(source, j0 * xr0 + j1 * xr1 + j2 * xr2 + j3 * xr3)))
            top = _MAX(top)
            total = _D(0)
            for j in range(cuda.threadIdx.x, count, cuda.blockDim.x):
                j3, j2, j1, j0 = j % r3, j // r3 % r2, j // (r3 * r2) % r1, j // (r3 * r2 * r1)
                value = _D(load(source, j0 * xr0 + j1 * xr1 + j2 * xr2 + j3 * xr3))
                total += _D(math.exp(value - top)) if value < top else _D(1)
            total = _SUM(total)
            if cuda.threadIdx.x == 0 and at < kept:
                is_plain = top > _D(-np.inf) and top < _D(np.inf)
                result = top + _D(math.log(total)) if is_plain else top
                store(y, i0 * yk0 + i1 * yk1 + i2 * yk2 + i3 * yk3, number(result))

    return Body(body, over_reduction)
