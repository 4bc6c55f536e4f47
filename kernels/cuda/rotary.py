"""Rotary embedding: pairs of elements of a row are turned by the angles of its position."""

from __future__ import annotations

from ..fields import Pointer
from .indices import refuse
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import load_f32, load_i64, store_f32
from .threads import cuda


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["batch"] * f["rows"] * f["heads"], f["size"], limits)


@cuda_factory
def rotary(interleaved: int) -> Body:
    """Turn the first 2 ``half`` elements of each row; rows of ``size`` elements are dense.

    ``cos`` and ``sin`` have ``half`` elements for each of ``limit`` positions, which ``positions``
    (int64, dense; batch x rows) name; where it is null, those of row i of batch b begin
    ``b * c_batch + i * half`` elements on.
    """

    def body(
        x: Pointer, y: Pointer, batch: int, heads: int, rows: int, size: int,
        x_batch: int, x_head: int, x_row: int, y_batch: int, y_head: int, y_row: int,
        half: int, cos: Pointer, sin: Pointer, c_batch: int, positions: Pointer, limit: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        begin = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        for index in range(begin, batch * rows * heads, cuda.gridDim.y * cuda.blockDim.y):
            head, i, b = index % heads, index // heads % rows, index // (heads * rows)
            at = b * c_batch + i * half
            if positions != 0:
                position = load_i64(positions, b * rows + i)
                if position < 0 or position >= limit:
                    refuse(status, position)
                    position = 0
                at = position * half
            source = x + (b * x_batch + head * x_head + i * x_row) * 4
            target = y + (b * y_batch + head * y_head + i * y_row) * 4
            # A thread writes both elements of a pair: the result may lie over the operand.
            for j in range(column, size, cuda.gridDim.x * cuda.blockDim.x):
                if j < half:
                    first, second = (2 * j, 2 * j + 1) if interleaved != 0 else (j, j + half)
                    a, b_ = load_f32(source, first), load_f32(source, second)
                    c, s = load_f32(cos, at + j), load_f32(sin, at + j)
                    store_f32(target, first, a * c - b_ * s)
                    store_f32(target, second, a * s + b_ * c)
                elif j >= 2 * half:
                    store_f32(target, j, load_f32(source, j))

    return Body(body, _launch)
