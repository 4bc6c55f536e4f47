"""Trial of memory: how long a line takes that no cache holds, and that nothing has asked for."""

from __future__ import annotations

import numpy as np

from ..kernels.compiler import native_function
from ..kernels.registry import Pointer, kernel
from ..kernels.simd import load_i64, store_i64
from ..kernels.trials import least_times
from ..runtime.memory import new_arena

_BYTES = 128 << 20
"""Most caches hold a small part of it."""
_LINE, _STEPS, _TURNS = 64, 20_000, 5


@kernel
def chase(thread: int, part: int, until: int, parts: int, place: Pointer, steps: int) -> int:
    """Go from address to address, each of which the word at the one before is.

    The first one is at ``place``, where the last one is left: no call meets lines of another, which
    a cache would hold.
    """
    at = load_i64(place, 0)
    for _ in range(steps):
        at = load_i64(at, 0)
    store_i64(place, 0, at)
    return 0


def latency_ns() -> float:
    """Measure the time from asking for a line of memory until it is there, in nanoseconds."""
    words = new_arena(_BYTES).view(np.int64)
    count, each = _BYTES // _LINE, _LINE // 8
    order = np.random.default_rng(0).permutation(count)
    words[order * each] = words.ctypes.data + np.roll(order, -1) * _LINE
    place = words[order[:1] * each]
    record = chase.record(place=place, steps=_STEPS)
    call = native_function(chase.address)
    return least_times([lambda: call(record.ctypes.data)], _TURNS)[0] / _STEPS
