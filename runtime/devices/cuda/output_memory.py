"""Memory of arrays that runs leave on a GPU: what callers let go is taken again.

A loop that drops a run's outputs gets the same few addresses, for which there are graphs already.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeAlias

from .driver import Driver

_MOST_IDLE, _LEAST_BLOCKS, _MOST_BLOCKS = 1 << 26, 2, 8
"""Bytes of an output's memory that nobody uses, and pieces of it: two change places in a loop."""

Port: TypeAlias = tuple[int, ...]
"""An output of a program."""
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

    __slots__ = ("_memory", "_port", "address", "readers", "size")

    def __init__(self, memory: OutputMemory, address: int, size: int, port: Port) -> None:
        self._memory, self._port = memory, port
        self.address, self.size = address, size
        self.readers: set[int] = set()

    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_ending():
            self._memory.take_back(self.address, self.size, self._port, self.readers)


class OutputMemory:
    """Memory of a GPU that is lent.

    Parameters
    ----------
    driver : Driver
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        # Lists are changed in one go under the GIL: memory may be taken back by a collection.
        self._idle: dict[tuple[int, Port], list[tuple[int, set[int]]]] = {}

    def lend(self, size: int, port: Port) -> Block:
        """Return memory for so many bytes, what the same port has had if there is some.

        So the outputs of a run change places together, not with each other.

        Raises
        ------
        KernelError
            There is not enough.
        """
        try:
            address, readers = self._idle[size, port].pop()
        except (KeyError, IndexError):
            return Block(self, self._driver.allocate(max(size, 1)), size, port)
        if readers:
            for stream in {None} if ANYBODY in readers else readers:
                self._driver.wait_for(stream)
        return Block(self, address, size, port)

    def take_back(self, address: int, size: int, port: Port, readers: set[int]) -> None:
        """Keep memory for the next run."""
        idle = self._idle.setdefault((size, port), [])
        count = len(idle)
        if count < _LEAST_BLOCKS or (count < _MOST_BLOCKS and count * size < _MOST_IDLE):
            idle.append((address, readers))
        else:
            self._driver.free(address)

    def release(self) -> None:
        """Give back to the device what nobody uses."""
        idle, self._idle = self._idle, {}
        for blocks in idle.values():
            for address, _ in blocks:
                self._driver.free(address)
