"""Memory of arrays that runs leave on a GPU: what callers let go is taken again.

A loop that drops a run's outputs gets the same few addresses, for which there are graphs already.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from .driver import ALIGNMENT, Driver

_MOST_IDLE = 1 << 28
"""Bytes that nobody uses."""

ANYBODY = -1
"""Stands for streams that have not said who they are."""


class Block:
    """A piece of memory with an owner; taken back with the object.

    Attributes
    ----------
    address, size : int
    readers : set of int
        Streams of others that read it, perhaps still when it is taken back.
    """

    def __init__(self, memory: OutputMemory, address: int, size: int) -> None:
        self._memory = memory
        self.address, self.size = address, size
        self.readers: set[int] = set()

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending():
            self._memory.take_back(self.address, self.size, self.readers)


class OutputMemory:
    """Memory of a GPU that is lent.

    Parameters
    ----------
    driver : Driver
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._idle: dict[int, list[tuple[int, set[int]]]] = {}
        self._idle_bytes = 0
        self._lock = threading.RLock()  # memory may be taken back by a collection within

    def lend(self, size: int) -> Block:
        """Return memory for so many bytes.

        Raises
        ------
        KernelError
            There is not enough.
        """
        size = max(-(-size // ALIGNMENT), 1) * ALIGNMENT
        with self._lock:
            idle = self._idle.get(size)
            found = idle.pop() if idle else None
            if found is not None:
                self._idle_bytes -= size
        if found is None:
            return Block(self, self._driver.allocate(size), size)
        address, readers = found
        for stream in {None} if ANYBODY in readers else readers:
            self._driver.wait_for(stream)
        return Block(self, address, size)

    def take_back(self, address: int, size: int, readers: set[int]) -> None:
        """Keep memory for the next one who needs as much."""
        with self._lock:
            if self._idle_bytes + size <= _MOST_IDLE:
                self._idle.setdefault(size, []).append((address, readers))
                self._idle_bytes += size
                return
        self._driver.free(address)

    def release(self) -> None:
        """Give back to the device what nobody uses."""
        with self._lock:
            idle, self._idle, self._idle_bytes = self._idle, {}, 0
        for blocks in idle.values():
            for address, _ in blocks:
                self._driver.free(address)
