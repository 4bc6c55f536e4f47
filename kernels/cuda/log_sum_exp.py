"""ReduceLogSumExp."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..fields import Pointer
from .blocks import block_fold, column_fold, larger
from .kernel import Body, cuda_factory
from .launches import over_reduction
from .memory import LOAD, SIZES, STORE
from .numbers import WHOLE
from .reduce import as_columns
from .threads import cuda
from .walks import offset_of

_D = np.float64
_MAX, _SUM = block_fold("max", np.float64), block_fold("sum", np.float64)
_COLUMN_MAX, _COLUMN_SUM = column_fold("max", np.float64), column_fold("sum", np.float64)


@cuda_factory
def log_sum_exp(dtype: str) -> Body:
    """Compute log(sum(exp(x))), the maximum taken out first, in float64; fields of ``reduce``."""
    load, store, size = LOAD[dtype], STORE[dtype], SIZES[dtype]
    cast: Any = {"f32": np.float32, "f64": np.float64}.get(dtype) or WHOLE[dtype]

    def body(
        x: Pointer, y: Pointer, k0: int, k1: int, k2: int, k3: int,
        xk0: int, xk1: int, xk2: int, xk3: int, yk0: int, yk1: int, yk2: int, yk3: int, r0: int,
        r1: int, r2: int, r3: int, xr0: int, xr1: int, xr2: int, xr3: int, status: Pointer,
    ) -> None:  # fmt: skip
        kept, reduced, sizes = k0 * k1 * k2 * k3, r0 * r1 * r2 * r3, (k3, k2, k1, k0)
        by_columns = as_columns(xk3, xr3, k3, reduced)
        width, own, part, parts = (cuda.blockDim.y, cuda.threadIdx.y, cuda.threadIdx.x,
                                   cuda.blockDim.x)  # fmt: skip
        if by_columns:
            width, own, part, parts = parts, part, own, width
        for begin in range(cuda.blockIdx.x * width, kept, cuda.gridDim.x * width):
            at = begin + own
            count = reduced if at < kept else 0  # all threads come to the folds
            source = x + offset_of(at, sizes, (xk3, xk2, xk1, xk0)) * size
            top = _D(-np.inf)
            for j in range(part, count, parts):
                place = offset_of(j, (r3, r2, r1, r0), (xr3, xr2, xr1, xr0))
                top = larger(top, _D(load(source, place)))
            top = _COLUMN_MAX(top) if by_columns else _MAX(top)
            total = _D(0)
            for j in range(part, count, parts):
                place = offset_of(j, (r3, r2, r1, r0), (xr3, xr2, xr1, xr0))
                value = _D(load(source, place))
                total += _D(math.exp(value - top)) if value < top else _D(1)
            total = _COLUMN_SUM(total) if by_columns else _SUM(total)
            if part == 0 and at < kept:
                is_plain = top > _D(-np.inf) and top < _D(np.inf)
                result = top + _D(math.log(total)) if is_plain else top
                store(y, offset_of(at, sizes, (yk3, yk2, yk1, yk0)), cast(result))

    return Body(body, over_reduction)
