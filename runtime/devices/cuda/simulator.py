"""numba's simulator as a GPU: kernels are Python, memory is that of the process."""

from __future__ import annotations

import ctypes
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from ....errors import KernelError
from ....kernels.cuda.kernel import CudaKernel, Launch, Limits
from ....kernels.cuda.simulated import allow, check_bounds, forbid
from ....kernels.cuda.simulator.process_memory import ProcessMemory
from ....kernels.cuda.simulator_patches import SHARED_ARRAYS
from ....kernels.record import address_of
from ....patches import applied
from .driver import ALIGNMENT, Copy, Driver
from .simulation import SIMULATED

_lock = threading.Lock()
"""Held by a launch: the simulator runs one kernel at a time."""


@contextmanager
def _quick_turns() -> Iterator[None]:
    """Let Python's threads take turns often: the simulator waits busily for those of a block."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _run_instructions(kernel: CudaKernel, launch: Launch, values: list[Any]) -> None:
    """Run a kernel made of instructions on the memory of the process."""
    from ....kernels.cuda.simulator import block

    assert kernel.bounds is not None
    assert launch.block == (kernel.bounds.threads, 1, 1), launch
    memory, shared = ProcessMemory(check_bounds), kernel.bounds.shared_bytes
    with _lock, np.errstate(all="ignore"):
        block.launch(kernel.function, launch.grid, launch.block[0], values, memory, shared)


class Simulator(Driver):
    """Memory of the process, whose bounds kernels are held to, and launches of few threads."""

    name = SIMULATED
    title = "numba's CUDA simulator"
    limits = Limits(threads=8, blocks=2)
    stream = 1  # the one of those that name none, which waits for all

    def __init__(self) -> None:
        self._arrays: dict[int, np.ndarray] = {}

    def allocate(self, size: int) -> int:
        """Allocate bytes that no result may rely on: they are not zero."""
        try:
            array = np.full(size + ALIGNMENT, 0xA5, np.uint8)
        except (MemoryError, ValueError) as error:
            raise KernelError(f"no memory on {self.title} for {size} bytes") from error
        address = -(-address_of(array) // ALIGNMENT) * ALIGNMENT
        self._arrays[address] = array
        allow(address, size)
        return address

    def free(self, address: int) -> None:
        """Forget an array; kernels may access it no more."""
        forbid(address)
        del self._arrays[address]

    def to_device(self, copy: Copy, follows: bool = True) -> None:
        """Copy at once."""
        ctypes.memmove(*copy)

    def move(self, target: int, source: int, size: int) -> None:
        """Copy at once."""
        ctypes.memmove(target, source, size)

    def to_host(self, copies: Sequence[Copy]) -> None:
        """Copy at once."""
        for target, source, size in copies:
            ctypes.memmove(target, source, size)

    def owns(self, address: int, size: int) -> bool:
        """Tell whether they lie in one of the arrays."""
        return any(0 <= address - at <= len(array) - size for at, array in self._arrays.items())

    allocate_pinned, free_pinned = allocate, free

    def wait_for(self, stream: int | None) -> None:
        """Do nothing: there is nobody else."""

    def let_wait(self, stream: int) -> None:
        """Do nothing: there is nobody else."""

    def load(self, kernels: Sequence[CudaKernel]) -> list[Any]:
        """Return for each kernel a function that runs it."""
        return [self._function(kernel) for kernel in kernels]

    def _function(self, kernel: CudaKernel) -> Callable[[Launch, np.ndarray], None]:
        """Return a function that runs a kernel, thread by thread.

        Those made of instructions run in our own simulator, others in numba's.
        """
        from ....kernels.cuda.threads import cuda

        is_float = [name in kernel.floats for name in kernel.fields]
        function = None if kernel.bounds else cuda.jit(kernel.function)

        def launch(launch: Launch, words: np.ndarray) -> None:
            values: list[Any] = words.tolist()
            for index, floats in enumerate(is_float):
                if floats:
                    values[index] = struct.unpack("<d", struct.pack("<q", values[index]))[0]
            if function is None:
                _run_instructions(kernel, launch, values)
                return
            with applied([SHARED_ARRAYS], _lock), _quick_turns(), np.errstate(all="ignore"):
                function[launch.grid, launch.block](*values)

        return launch

    def encoded(self, tensor_map: Any) -> np.ndarray:
        """Return it as our simulator reads it."""
        words: np.ndarray = tensor_map.words()
        return words

    def prepare(self, kernel: Any, launch: Launch, words: np.ndarray) -> Callable[[], None]:
        """Return the call of the function."""
        return partial(kernel, launch, words.copy())

    def queue(self, launches: Sequence[Any]) -> None:
        """Run kernels."""
        for launch in launches:
            launch()

    def capture(self, launches: Sequence[Any]) -> Callable[[], None]:
        """Return what launches the same kernels again."""
        return partial(self.queue, list(launches))

    def synchronize(self) -> None:
        """Do nothing: launches are done when they return."""

    def mark(self) -> int:
        """Look at the clock."""
        return time.perf_counter_ns()

    def nanoseconds(self, start: int, end: int) -> int:
        """Subtract."""
        return end - start
