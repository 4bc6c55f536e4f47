"""Gather, GatherElements and GatherND: reading at indices that tensors hold."""

from __future__ import annotations

from ..fields import Pointer
from .elements import accesses
from .indices import index_within, place_of
from .kernel import Body, Fields, cuda_factory
from .launches import elements_of
from .memory import LOAD
from .runs import copy_run, run_launch
from .threads import cuda
from .walks import offset_of


def _rows(f: Fields) -> int:
    return f["outer"] * f["count"]


@cuda_factory
def gather(itemsize: int, index: str) -> Body | None:
    """y[o, j, :] = x[o, indices[j], :]; indices below zero count from the end."""
    if itemsize not in accesses:
        return None
    load_index, (load, store) = LOAD[index], accesses[itemsize]

    def body(
        x: Pointer, indices: Pointer, y: Pointer, outer: int, size: int, inner: int, count: int,
        x_outer: int, x_axis: int, y_outer: int, y_axis: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        width = cuda.gridDim.x * cuda.blockDim.x
        for row in range(first, outer * count, cuda.gridDim.y * cuda.blockDim.y):
            o, j = row // count, row % count
            at = index_within(status, load_index(indices, j), size)
            if at >= 0:
                source, target = o * x_outer + at * x_axis, o * y_outer + j * y_axis
                if inner == 1:
                    store(y, target, load(x, source))
                else:
                    copy_run(y + target * itemsize, x + source * itemsize, inner * itemsize,
                             column, width)  # fmt: skip

    return Body(body, run_launch(itemsize, _rows, "inner"))


@cuda_factory
def gather_elements(itemsize: int, index: str) -> Body | None:
    """y[i] = x[i with coordinate ``axis`` replaced by indices[i]]; y and indices are dense."""
    if itemsize not in accesses:
        return None
    load_index, (load, store) = LOAD[index], accesses[itemsize]

    def body(
        x: Pointer, indices: Pointer, y: Pointer, size: int, x_axis: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int, status: Pointer,
    ) -> None:  # fmt: skip
        dims, strides = (d7, d6, d5, d4, d3, d2, d1, d0), (x7, x6, x5, x4, x3, x2, x1, x0)
        total = d0 * d1 * d2 * d3 * d4 * d5 * d6 * d7
        for i in range(cuda.grid(1), total, cuda.gridsize(1)):
            source = offset_of(i, dims, strides)
            at = index_within(status, load_index(indices, i), size)
            if at >= 0:
                store(y, i, load(x, source + at * x_axis))

    return Body(body, elements_of("d0", "d1", "d2", "d3", "d4", "d5", "d6", "d7"))


@cuda_factory
def gather_nd(itemsize: int) -> Body | None:
    """y[b, j, :] = x[b, indices[b, j, 0], ..., indices[b, j, depth - 1], :]; int64 indices."""
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]

    def body(
        x: Pointer, indices: Pointer, y: Pointer, batch: int, count: int,
        depth: int, inner: int, x_batch: int,
        s0: int, s1: int, s2: int, s3: int, s4: int, s5: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, status: Pointer,
    ) -> None:  # fmt: skip
        sizes, strides = (s0, s1, s2, s3, s4, s5), (x0, x1, x2, x3, x4, x5)
        total = batch * count * inner
        for i in range(cuda.grid(1), total, cuda.gridsize(1)):
            row, column = i // inner, i % inner
            place = place_of(status, indices, row, depth, sizes, strides)
            if place >= 0:
                store(y, i, load(x, row // count * x_batch + place + column))

    return Body(body, elements_of("batch", "count", "inner"))
