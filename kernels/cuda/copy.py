"""Copies between any two layouts: transposes, slices, repetitions."""

from __future__ import annotations

from ..fields import Pointer
from .elements import accesses
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .threads import cuda

_AXES = range(8)


def _launch(f: Fields, limits: Limits) -> Launch:
    rows = 1
    for axis in _AXES[:-1]:
        rows *= f[f"d{axis}"]
    return over_rows(rows, f["d7"], limits)


@cuda_factory
def copy(itemsize: int) -> Body | None:
    """Copy elements: sizes ``d*``, outermost first, strides ``y*`` and ``x*``."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(
        x: Pointer, y: Pointer,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int, status: Pointer,
    ) -> None:  # fmt: skip
        dims = (d6, d5, d4, d3, d2, d1, d0)
        to, come = (y6, y5, y4, y3, y2, y1, y0), (x6, x5, x4, x3, x2, x1, x0)
        rows = d0 * d1 * d2 * d3 * d4 * d5 * d6
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        for row in range(first, rows, cuda.gridDim.y * cuda.blockDim.y):
            rest, target, source = row, 0, 0
            for axis in range(7):
                at = rest % dims[axis]
                target += at * to[axis]
                source += at * come[axis]
                rest = rest // dims[axis]
            for i in range(column, d7, cuda.gridDim.x * cuda.blockDim.x):
                store(y, target + i * y7, load(x, source + i * x7))

    return Body(body, _launch)
