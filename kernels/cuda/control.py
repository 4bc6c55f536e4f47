"""Slices of operands and results by iterations of a loop, whose steps the CPU walks."""

from __future__ import annotations

from ..fields import Pointer
from .kernel import Fields, Launch, Limits, cuda_kernel
from .launches import over_rows
from .memory import load_i64
from .runs import PIECE, copy_run
from .threads import cuda


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["rows"], -(-f["run"] // PIECE), limits)


@cuda_kernel(_launch)
def move_slice(
    x: Pointer, y: Pointer, iteration: Pointer, first: int, sign: int, x_unit: int, y_unit: int,
    rows: int, run: int, x_stride: int, y_stride: int, status: Pointer,
) -> None:  # fmt: skip
    """Copy ``rows`` runs of ``run`` bytes; the fields are those of the CPU's kernel."""
    position = first + sign * load_i64(iteration, 0)
    source, target = x + position * x_unit, y + position * y_unit
    row = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    step = cuda.gridDim.x * cuda.blockDim.x
    for at in range(row, rows, cuda.gridDim.y * cuda.blockDim.y):
        copy_run(target + at * y_stride, source + at * x_stride, run, column, step)
