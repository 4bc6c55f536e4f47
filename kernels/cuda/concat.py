"""Concatenation of runs of bytes."""

from __future__ import annotations

from ..abi import PIECE_ADDRESS, PIECE_BYTES, PIECE_COLUMNS, PIECE_STRIDE
from ..fields import Pointer
from .kernel import Fields, Launch, Limits, cuda_kernel
from .launches import over_rows
from .memory import LOAD, STORE, load_i64
from .threads import cuda

_load, _store = LOAD["u8"], STORE["u8"]


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["rows"], f["width"], limits)


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
    begin = 0
    for i in range(count):
        piece = pieces + 8 * PIECE_COLUMNS * i
        source, size = load_i64(piece, PIECE_ADDRESS), load_i64(piece, PIECE_BYTES)
        step = load_i64(piece, PIECE_STRIDE)
        if source != 0:
            for row in range(first, rows, cuda.gridDim.y * cuda.blockDim.y):
                for j in range(column, size, cuda.gridDim.x * cuda.blockDim.x):
                    _store(y, row * stride + begin + j, _load(source, row * step + j))
        begin += size
