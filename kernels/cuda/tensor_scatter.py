"""TensorScatter: rows written into a cache from an index on, one for each of a batch."""

from __future__ import annotations

from ..fields import Pointer
from .indices import refuse
from .kernel import Fields, Launch, Limits, cuda_kernel
from .launches import elements_of, over_rows
from .memory import load_i64
from .runs import PIECE, copy_run
from .threads import cuda


@cuda_kernel(elements_of("batch"))
def check_begins(indices: Pointer, batch: int, most: int, status: Pointer) -> None:
    """Refuse indices (int64) below 0 or above ``most``, before rows in place are overwritten."""
    for i in range(cuda.grid(1), batch, cuda.gridsize(1)):
        if load_i64(indices, i) < 0 or load_i64(indices, i) > most:
            refuse(status, load_i64(indices, i))


def _rows(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["batch"] * f["outer"] * f["rows"], -(-f["row_bytes"] // PIECE), limits)


@cuda_kernel(_rows)
def tensor_scatter(
    update: Pointer, y: Pointer, indices: Pointer, batch: int, outer: int, rows: int, room: int,
    row_bytes: int, cache_bytes: int, circular: int, status: Pointer,
) -> None:  # fmt: skip
    """Write rows into caches; the fields are those of the CPU's kernel."""
    per_batch, step = outer * rows, cuda.gridDim.x * cuda.blockDim.x
    first_row = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
    column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    for row in range(first_row, batch * per_batch, cuda.gridDim.y * cuda.blockDim.y):
        first = 0
        if indices != 0:
            first = load_i64(indices, row // per_batch)
        if circular == 0 and (first < 0 or first > room - rows):
            refuse(status, first)
        else:
            at = (first % room + row % rows) % room
            target = row // rows * cache_bytes + at * row_bytes
            copy_run(y + target, update + row * row_bytes, row_bytes, column, step)
