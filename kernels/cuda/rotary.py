"""Rotary embedding: pairs of elements turned by an angle that grows with the position."""

from __future__ import annotations

from ..fields import Pointer
from .indices import refuse
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import load_f32, load_i64, store_f32
from .threads import cuda


def _launch(f: Fields, limits: Limits) -> Launch:
    return over_rows(f["batch"] * f["heads"] * f["rows"], f["size"], limits)


@cuda_factory
def rotary(interleaved: int) -> Body:
    """Turn the first 2 ``half`` elements of each row; the fields are those of the CPU's kernel."""

    def body(
        x: Pointer, y: Pointer, batch: int, heads: int, rows: int, size: int,
        x_batch: int, x_head: int, x_row: int, y_batch: int, y_head: int, y_row: int,
        half: int, cos: Pointer, sin: Pointer, c_batch: int, positions: Pointer, limit: int,
        status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        for row in range(first, batch * heads * rows, cuda.gridDim.y * cuda.blockDim.y):
            i, head, b = row % rows, row // rows % heads, row // (rows * heads)
            at, is_inside = b * c_batch + i * half, True
            if positions != 0:
                position = load_i64(positions, b * rows + i)
                at, is_inside = position * half, 0 <= position < limit
                if not is_inside:
                    refuse(status, position)
            source = b * x_batch + head * x_head + i * x_row
            target = b * y_batch + head * y_head + i * y_row
            for j in range(column, size if is_inside else 0, cuda.gridDim.x * cuda.blockDim.x):
                value = load_f32(x, source + j)
                if j < 2 * half:
                    # The other element of the pair, and whether this one is the pair's second.
                    if interleaved != 0:
                        pair, is_second, other = j // 2, j % 2 != 0, j - 1 if j % 2 != 0 else j + 1
                    else:
                        is_second = j >= half
                        pair = j - half if is_second else j
                        other = j - half if is_second else j + half
                    turned = load_f32(x, source + other) * load_f32(sin, at + pair)
                    value *= load_f32(cos, at + pair)
                    value += turned if is_second else -turned
                store_f32(y, target + j, value)

    return Body(body, _launch)
