"""Concatenation of runs of bytes."""

from __future__ import annotations

from ..abi import PIECE_ADDRESS, PIECE_BYTES, PIECE_COLUMNS, PIECE_STRIDE
from ..fields import Pointer
from .kernel import Fields, Launch, Limits, cuda_kernel
from .launches import over_rows
from .memory import load_i64
from .runs import PIECE, copy_run
from .threads import cuda


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["rows"], -(-f["width"] // PIECE), limits)


@cuda_kernel(_launch)
def concat(
    y: Pointer, rows: int, width: int, stride: int, count: int, pieces: Pointer, status: Pointer
) -> None:
    """Copy a run of each piece into every row of y, whose rows are ``stride`` bytes apart.

    ``pieces`` is a table of ``count`` rows, of columns ``PIECE_...``. A piece at address 0 is a
    gap, whose bytes stay as they are.
    """
    first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    width_step, begin = cuda.gridDim.x * cuda.blockDim.x, 0
    for i in range(count):
        piece = pieces + 8 * PIECE_COLUMNS * i
        source, size = load_i64(piece, PIECE_ADDRESS), load_i64(piece, PIECE_BYTES)
        step = load_i64(piece, PIECE_STRIDE)
        if source != 0:
            for row in range(first, rows, cuda.gridDim.y * cuda.blockDim.y):
                copy_run(y + row * stride + begin, source + row * step, size, column, width_step)
        begin += size
