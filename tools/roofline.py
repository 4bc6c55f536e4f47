"""Roofline of this machine, measured: peak arithmetic and memory bandwidth, by thread count.

The model is that of Williams, Waterman and Patterson, "Roofline: an insightful visual performance
model" (2009): work of F operations on B bytes takes at least ``max(F / peak, B / bandwidth)``.
Bandwidth depends on where the data lies, so it is measured for working sets from the first cache
to main memory, and a step is judged by the one of its own size.
"""

from __future__ import annotations

import bisect
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.compiler import environment_key, native_function
from ..kernels.folders import write_atomically
from ..kernels.storage import cache_folder
from ..kernels.target import LANES, target
from ..runtime.memory import new_arena

if TYPE_CHECKING:
    from ..kernels.registry import Kernel

SIZES = tuple(2**exponent for exponent in (*range(14, 28, 2), 27, 28))
"""Working sets in bytes: 16 KiB to 256 MiB. What is read again and again lies partly in a cache of
half its size: a third-level cache of 32 MiB adds a quarter to the rate at 64 MiB."""

_SECONDS = 0.01
_REPEATS = 3


@dataclass(frozen=True)
class Roofline:
    """Ceilings of a machine for one number of threads.

    Attributes
    ----------
    cpu : str
        Name of the processor, as LLVM spells it.
    threads : int
    gflops : float
        float32 operations in 1e9/s; a multiply-add counts as two.
    gbps : tuple of float
        Bytes read and written in 1e9/s, for each working set of `SIZES`.
    """

    cpu: str
    threads: int
    gflops: float
    gbps: tuple[float, ...]

    def bandwidth(self, count: float) -> float:
        """Bandwidth in 1e9 bytes/s for a working set of so many bytes (interpolated)."""
        at = bisect.bisect_left(SIZES, count)
        if at in (0, len(SIZES)):
            return self.gbps[min(at, len(SIZES) - 1)]
        low, high = SIZES[at - 1], SIZES[at]
        share = math.log(count / low) / math.log(high / low)
        return self.gbps[at - 1] * (1 - share) + self.gbps[at] * share

    def least_ns(self, flops: float, count: float) -> float:
        """Shortest possible time in nanoseconds for operations on so many bytes."""
        memory = count / self.bandwidth(count) if count else 0.0
        return max(flops / self.gflops, memory)

    def bound(self, flops: float, count: float) -> str:
        """Return the limit of such work: ``"compute"`` or ``"memory"``."""
        return "compute" if flops / self.gflops >= self.least_ns(flops, count) else "memory"


def roofline(threads: int = 1, fresh: bool = False) -> Roofline:
    """Return the ceilings of this machine; measured once, then kept in the cache folder.

    Parameters
    ----------
    threads : int
    fresh : bool
        Measure again (about a second) even if the cache has an answer.
    """
    path = _path(threads)
    if path is not None and not fresh:
        try:
            stored = json.loads(path.read_text())
            gbps = tuple(stored["gbps"])
            if len(gbps) == len(SIZES):
                return Roofline(stored["cpu"], threads, stored["gflops"], gbps)
        except (OSError, ValueError, KeyError, TypeError):
            pass  # no answer, or a damaged one: measure
    ceilings = _measure(threads)
    _keep(ceilings)
    return ceilings


def remeasure(earlier: Roofline) -> Roofline:
    """Measure again, and keep the higher ceilings: the machine was busy before."""
    again = _measure(earlier.threads)
    gbps = tuple(max(pair) for pair in zip(earlier.gbps, again.gbps, strict=True))
    ceilings = Roofline(earlier.cpu, earlier.threads, max(earlier.gflops, again.gflops), gbps)
    _keep(ceilings)
    return ceilings


def _path(threads: int) -> Path | None:
    folder = cache_folder()
    return folder / f"roofline-{environment_key()}-{threads}.json" if folder else None


def _keep(ceilings: Roofline) -> None:
    path = _path(ceilings.threads)
    if path is not None:
        write_atomically(path, [json.dumps(asdict(ceilings)).encode()])


def _measure(threads: int) -> Roofline:
    from . import peaks  # imports numba

    x = _resident(SIZES[-1])
    y = x[len(x) // 2 :]
    gbps = []
    for size in SIZES:
        both = size // 8 // (4 * LANES * threads) * (4 * LANES * threads)
        one = 2 * both
        # A step may only read (a matrix-vector product) or read and write: the better of the two.
        copied = _rate(peaks.copy, threads, 8 * both, x=x, y=y, n=both)
        read = _rate(peaks.read, threads, 4 * one, x=x, y=y, n=one)
        gbps.append(round(max(copied, read), 2))
    sums = np.zeros(16 * threads, np.float32)
    work = 2 * peaks.CHAINS * LANES * threads
    gflops = _rate(peaks.multiply_add, threads, work, y=sums, factor=0.5, term=0.5)
    return Roofline(target().cpu, threads, round(gflops, 2), tuple(gbps))


def _resident(count: int) -> np.ndarray:
    """Return so many bytes of memory that has been written to.

    What has not is one page of zeros for all, which is read from a cache. Pages are huge where
    they may be, as those of arenas.
    """
    memory = new_arena(count).view(np.float32)
    memory.fill(1)
    return memory


def _rate(kernel: Kernel, threads: int, work: int, **values: Any) -> float:
    """Work per nanosecond of a kernel with a ``rounds`` field; ``work`` is that of one round."""
    call = native_function(kernel.address)
    rounds = 1
    while True:
        record = kernel.record(rounds=rounds, **values)
        elapsed = _together(call, record.ctypes.data, threads)
        if elapsed > 1e9 * _SECONDS:
            break
        rounds = max(2 * rounds, min(1000 * rounds, int(rounds * 1.2e9 * _SECONDS / elapsed)))
    best = min([elapsed, *(_together(call, record.ctypes.data, threads) for _ in range(_REPEATS))])
    return work * rounds / best


def _together(call: Callable[..., int], record: int, threads: int) -> int:
    """Run a kernel's shares at once; nanoseconds from the common start to the last end."""
    start = threading.Barrier(threads)
    spans: list[tuple[int, int]] = []

    def share(thread: int) -> None:
        start.wait()
        began = time.perf_counter_ns()
        call(record, thread, thread, thread + 1, threads)
        spans.append((began, time.perf_counter_ns()))

    others = [threading.Thread(target=share, args=(thread,)) for thread in range(1, threads)]
    for other in others:
        other.start()
    share(0)
    for other in others:
        other.join()
    return max(end for _, end in spans) - min(began for began, _ in spans)
