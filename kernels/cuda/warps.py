"""Exchange of numbers between the threads of a warp, without shared memory.

All threads of a block take part, and blocks are of whole warps. Under numba's simulator, which
knows no warps, a shared array stands for the exchange, and a warp is short, so that blocks of few
threads have several.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .deferred import Deferred
from .memory import IS_SIMULATED
from .threads import cuda

WARP = 4 if IS_SIMULATED else 32
"""Threads of a warp."""
_MOST_THREADS = 256


@functools.cache
def exchange(way: str, dtype: Any) -> Any:
    """Return ``exchange(value, distance)``, which gives the value of another thread of the warp.

    That is the thread whose number differs in the bits of the distance (``"xor"``), or the one so
    far before (``"up"``; of the first ones the own value comes back).
    """
    if IS_SIMULATED:
        return _simulated(way, dtype)

    def find() -> Any:
        from .intrinsics import shuffle

        return shuffle({"xor": "bfly", "up": "up"}[way], np.dtype(dtype).name)

    return Deferred(find)


def _simulated(way: str, dtype: Any) -> Any:
    @cuda.jit(device=True)  # type: ignore[untyped-decorator, unused-ignore]
    def call(value: Any, distance: int) -> Any:
        values = cuda.shared.array(_MOST_THREADS, dtype)
        own = cuda.threadIdx.y * cuda.blockDim.x + cuda.threadIdx.x
        cuda.syncthreads()
        values[own] = value
        cuda.syncthreads()
        lane = own % WARP
        other = lane ^ distance if way == "xor" else max(lane - distance, 0)
        if way == "up" and lane < distance:
            other = lane
        return dtype(values[own - lane + other])

    return call
