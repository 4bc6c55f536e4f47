"""Copies between any two layouts: transposes, slices, repetitions."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

from ..fields import Pointer
from .elements import accesses
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_plane_tiles, over_rows
from .memory import IS_SIMULATED
from .runs import PIECE, copy_run
from .threads import cuda
from .walks import offset_of

_AXES = range(8)
_EDGE = 32
"""Rows and columns of a tile that is turned in shared memory, at most."""
_LEAST = 2 if IS_SIMULATED else 16
_PLACES = _EDGE * (_EDGE + 1)
_WORDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


class _Axis(NamedTuple):
    """Size of an axis, and its strides in y and x."""

    size: int
    y: int
    x: int


def _ordered(fields: Fields) -> Fields:
    """Order axes as y has them in memory, merge those that lie evenly, and put x's last one second.

    Threads along the last axis write neighbouring elements of y, and where x has neighbouring ones
    along another axis, that is the one before, so that tiles of the two are turned.
    """
    axes = [_Axis(*(fields[f"{name}{i}"] for name in "dyx")) for i in _AXES]
    axes = [axis for axis in axes if axis.size != 1]
    axes.sort(key=lambda axis: (-axis.y, -axis.x))
    merged: list[_Axis] = []
    for axis in axes:
        last = merged[-1] if merged else None
        if last and last.y == axis.y * axis.size and last.x == axis.x * axis.size:
            merged[-1] = _Axis(last.size * axis.size, axis.y, axis.x)
        else:
            merged.append(axis)
    own = [i for i, axis in enumerate(merged[:-1]) if axis.x == 1]
    if own and merged[-1].x != 1:
        merged.insert(len(merged) - 2, merged.pop(own[0]))
    padded = [*itertools.repeat(_Axis(1, 0, 0), len(_AXES) - len(merged)), *merged]
    changed = dict(fields)
    for i, axis in enumerate(padded):
        changed |= {f"d{i}": axis.size, f"y{i}": axis.y, f"x{i}": axis.x}
    return changed


@device_function("boolean")
def _is_turned(y7: Any, x7: Any, x6: Any, d7: Any, d6: Any) -> Any:
    """Tell whether x has neighbouring elements along another axis than y, and tiles are worth it.

    Along a short axis threads that read or write a line stay near each other without.
    """
    return y7 == 1 and x6 == 1 and x7 != 1 and min(d6, d7) >= _LEAST


def _launch(itemsize: int) -> Any:
    def launch(f: Fields, limits: Limits) -> Launch:
        others = 1
        for axis in _AXES[:6]:
            others *= f[f"d{axis}"]
        is_long = min(f["d6"], f["d7"]) >= _LEAST
        if f["y7"] == f["x6"] == 1 != f["x7"] and is_long:
            return over_plane_tiles(others, f["d6"], f["d7"], _EDGE, limits)
        columns = f["d7"]
        if f["y7"] == f["x7"] == 1:
            columns = -(-columns * itemsize // PIECE)
        return over_rows(others * f["d6"], columns, limits)

    return launch


@cuda_factory
def copy(itemsize: int) -> Body | None:
    """Copy elements: sizes ``d*``, outermost first, strides ``y*`` and ``x*``.

    Where neighbouring elements of x are none in y, tiles are read by rows of x and written by rows
    of y; their rows lie one element apart from a multiple of the banks of shared memory.
    """
    if itemsize not in accesses:
        return None
    load, store = accesses[itemsize]
    word = _WORDS[itemsize]

    def body(
        x: Pointer, y: Pointer,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int,
        y0: int, y1: int, y2: int, y3: int, y4: int, y5: int, y6: int, y7: int,
        x0: int, x1: int, x2: int, x3: int, x4: int, x5: int, x6: int, x7: int, status: Pointer,
    ) -> None:  # fmt: skip
        tile = cuda.shared.array(_PLACES, word)
        others, across, down = d0 * d1 * d2 * d3 * d4 * d5, cuda.threadIdx.x, cuda.threadIdx.y
        dims, to, come = (
            (d5, d4, d3, d2, d1, d0),
            (y5, y4, y3, y2, y1, y0),
            (x5, x4, x3, x2, x1, x0),
        )
        if _is_turned(y7, x7, x6, d7, d6):
            edge = cuda.blockDim.x
            rows, columns = (d6 + edge - 1) // edge, (d7 + edge - 1) // edge
            for number in range(cuda.blockIdx.x, others * rows * columns, cuda.gridDim.x):
                row, column = number // columns % rows * edge, number % columns * edge
                outer = number // (columns * rows)
                target, source = offset_of(outer, dims, to), offset_of(outer, dims, come)
                for i in range(down, edge, cuda.blockDim.y):
                    if column + i < d7 and row + across < d6:
                        place = source + (column + i) * x7 + row + across
                        tile[i * (_EDGE + 1) + across] = load(x, place)
                cuda.syncthreads()
                for i in range(down, edge, cuda.blockDim.y):
                    if row + i < d6 and column + across < d7:
                        place = target + (row + i) * y6 + column + across
                        store(y, place, tile[across * (_EDGE + 1) + i])
                cuda.syncthreads()
            return
        first = cuda.blockIdx.y * cuda.blockDim.y + down
        column, step = cuda.blockIdx.x * cuda.blockDim.x + across, cuda.gridDim.x * cuda.blockDim.x
        for row in range(first, others * d6, cuda.gridDim.y * cuda.blockDim.y):
            target = offset_of(row // d6, dims, to) + row % d6 * y6
            source = offset_of(row // d6, dims, come) + row % d6 * x6
            if y7 == 1 and x7 == 1:
                copy_run(y + target * itemsize, x + source * itemsize, d7 * itemsize, column, step)
            else:
                for i in range(column, d7, step):
                    store(y, target + i * y7, load(x, source + i * x7))

    return Body(body, _launch(itemsize), _ordered)
