"""Ticks of the processor's time stamp counter."""

from __future__ import annotations

import functools
import time

from ..kernels.compiler import kernel_address, native_function
from ..kernels.ref import KernelRef


@functools.cache
def nanoseconds_per_tick() -> float:
    """Length of a tick, measured over 20 ms."""
    read = native_function(kernel_address(KernelRef("kernels.cpu.executor", "read_cycles")))
    before, start = read(0), time.perf_counter_ns()
    time.sleep(0.02)
    return (time.perf_counter_ns() - start) / (read(0) - before)
