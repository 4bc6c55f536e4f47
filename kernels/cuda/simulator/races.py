"""Races in shared memory: bytes that two threads access, one writing, with no barrier between.

Only barriers of the whole block are known to order accesses, so blocks that use others (mbarrier)
are not looked at.
"""

from __future__ import annotations

import numpy as np

_NOBODY, _MANY = -1, -2


class Race(RuntimeError):
    """Threads access the same bytes in an order that nothing decides."""


class Accesses:
    """Who wrote and read each byte of shared memory last, and behind how many barriers.

    Parameters
    ----------
    size : int
        Bytes of shared memory.
    """

    def __init__(self, size: int) -> None:
        self.barriers = 0
        self._writers = np.full(size, _NOBODY, np.int32)
        self._readers = np.full(size, _NOBODY, np.int32)
        self._written = np.full(size, -1, np.int32)
        self._read = np.full(size, -1, np.int32)

    def read(self, thread: int, start: int, size: int) -> None:
        """Note that a thread reads bytes.

        Raises
        ------
        Race
            Another wrote them since the last barrier.
        """
        place = slice(start, start + size)
        self._refuse(thread, self._writers[place], self._written[place], "wrote", start)
        readers = self._readers[place]
        others = (self._read[place] == self.barriers) & (readers != thread)
        self._readers[place] = np.where(others, _MANY, thread)
        self._read[place] = self.barriers

    def write(self, thread: int, start: int, size: int) -> None:
        """Note that a thread writes bytes.

        Raises
        ------
        Race
            Another wrote or read them since the last barrier.
        """
        self.refuse_write(thread, start, size)
        place = slice(start, start + size)
        self._writers[place], self._written[place] = thread, self.barriers

    def refuse_write(self, thread: int, start: int, size: int) -> None:
        """Raise `Race` where a thread may not write now; an asynchronous copy does so later."""
        place = slice(start, start + size)
        self._refuse(thread, self._writers[place], self._written[place], "wrote", start)
        self._refuse(thread, self._readers[place], self._read[place], "read", start)

    def _refuse(
        self, thread: int, others: np.ndarray, times: np.ndarray, did: str, start: int
    ) -> None:
        wrong = (times == self.barriers) & (others != thread)
        if wrong.any():
            other = others[wrong][0]
            who = "several threads" if other == _MANY else f"thread {other}"
            raise Race(f"thread {thread} is at shared byte {start}, which {who} {did}")
