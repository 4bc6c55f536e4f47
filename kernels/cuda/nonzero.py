"""Positions of elements that are not zero, and how many there are; fields of the CPU's kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..cpu.nonzero import BLOCKS
from ..fields import Pointer
from .blocks import I64_LAST, I64_SCAN, I64_SUM
from .elements import accesses
from .functions import device_function
from .kernel import Body, Fields, Launch, Limits, cuda_factory, cuda_kernel
from .launches import over_tiles
from .memory import load_i64, store_i64
from .threads import cuda

_WORDS: dict[int, Any] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def _is_set(itemsize: int, is_float: int) -> Any:
    """Return a function that tells whether an element is not zero; NaN is no zero, -0.0 is one."""
    load, _ = accesses[itemsize]
    mask = _WORDS[itemsize]((1 << (8 * itemsize - 1)) - 1 if is_float else (1 << 8 * itemsize) - 1)

    @device_function("int64")
    def is_set(x: Any, i: Any) -> Any:
        return 1 if (load(x, i) & mask) != 0 else 0

    return is_set


def _blocks(f: Fields, limits: Limits) -> Launch:
    return over_tiles(BLOCKS, limits.threads, limits)


@cuda_factory
def count_nonzero(itemsize: int, is_float: int) -> Body:
    """counts[b] = elements of block b of ``count`` dense ones that are not zero."""
    is_set = _is_set(itemsize, is_float)

    def body(x: Pointer, counts: Pointer, count: int, status: Pointer) -> None:
        for block in range(cuda.blockIdx.x, BLOCKS, cuda.gridDim.x):
            first, last = count * block // BLOCKS, count * (block + 1) // BLOCKS
            found = 0
            for i in range(first + cuda.threadIdx.x, last, cuda.blockDim.x):
                found += is_set(x, i)
            found = I64_SUM(found)
            if cuda.threadIdx.x == 0:
                store_i64(counts, block, found)

    return Body(body, _blocks)


def _one_block(f: Fields, limits: Limits) -> Launch:
    return over_tiles(1, limits.threads, limits)


@cuda_kernel(_one_block)
def begins_of(counts: Pointer, begins: Pointer, count: int, status: Pointer) -> None:
    """begins[i] = the sum of the counts before i, for i up to ``count``."""
    before = 0
    for first in range(0, count, cuda.blockDim.x):
        i = first + cuda.threadIdx.x
        own = load_i64(counts, i) if i < count else 0
        reached = before + I64_SCAN(own)
        if i < count:
            store_i64(begins, i, reached - own)
        before = I64_LAST(reached)
    if cuda.threadIdx.x == 0:
        store_i64(begins, count, before)


@cuda_factory
def nonzero(itemsize: int, is_float: int) -> Body:
    """y[axis, begins[b] + j] = the coordinate of the j-th element of block b that is not zero.

    The threads of a block look at neighbouring elements, and count those before their own.
    """
    is_set = _is_set(itemsize, is_float)

    def body(
        x: Pointer, begins: Pointer, y: Pointer, count: int, total: int, rank: int,
        d0: int, d1: int, d2: int, d3: int, d4: int, d5: int, d6: int, d7: int, status: Pointer,
    ) -> None:  # fmt: skip
        dims = (d7, d6, d5, d4, d3, d2, d1, d0)
        for block in range(cuda.blockIdx.x, BLOCKS, cuda.gridDim.x):
            last, place = count * (block + 1) // BLOCKS, load_i64(begins, block)
            for first in range(count * block // BLOCKS, last, cuda.blockDim.x):
                i = first + cuda.threadIdx.x
                own = is_set(x, i) if i < last else 0
                reached = place + I64_SCAN(own)
                if own != 0:
                    rest = i
                    for axis in range(8):
                        if axis < rank:
                            store_i64(y, (rank - 1 - axis) * total + reached - 1, rest % dims[axis])
                            rest = rest // dims[axis]
                place = I64_LAST(reached)

    return Body(body, _blocks)
