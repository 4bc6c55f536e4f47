"""Copies between the host and a GPU through pinned memory, in streams of their own.

Only pinned memory is copied while kernels run. A large copy goes in pieces: one is on its way
while the host copies the next one.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from .api import Api
from .driver import Copy

PIECE = 1 << 22
"""Bytes of a piece."""
_SLOTS = 4
"""Pieces that are on their way."""


class _Slot:
    """Pinned memory for a piece, and the event behind its copy."""

    def __init__(self, api: Api, address: int) -> None:
        self.address = address
        self.event = api.call("cuEventCreate", 2)  # without times
        self.is_used = False


class Staging:
    """Copies in one direction.

    Parameters
    ----------
    api : Api
    queue : CUstream
        What kernels run in.
    """

    def __init__(self, api: Api, queue: Any) -> None:
        self._api, self._queue = api, queue
        self._stream = api.call("cuStreamCreate", 1)  # waits for no other stream
        self._before = api.call("cuEventCreate", 2)
        memory = int(api.call("cuMemHostAlloc", _SLOTS * PIECE, 1))  # for any context
        self._slots = [_Slot(api, memory + slot * PIECE) for slot in range(_SLOTS)]
        self._next = 0
        self._lock = threading.Lock()

    def to_device(self, copy: Copy, follows: bool) -> None:
        """Copy bytes of the host, which have been read when it returns; the queue waits."""
        call, (target, source, size) = self._api.call, copy
        with self._lock:
            if follows:
                call("cuEventRecord", self._before, self._queue)
                call("cuStreamWaitEvent", self._stream, self._before, 0)
            for at, count in _pieces(size):
                slot = self._free_slot()
                ctypes.memmove(slot.address, source + at, count)
                call("cuMemcpyHtoDAsync", target + at, slot.address, count, self._stream)
                call("cuEventRecord", slot.event, self._stream)
                last = slot
            call("cuStreamWaitEvent", self._queue, last.event, 0)

    def to_host(self, copies: Sequence[Copy]) -> None:
        """Copy bytes to the host, once all that was queued is done."""
        call = self._api.call
        with self._lock:
            call("cuEventRecord", self._before, self._queue)
            call("cuStreamWaitEvent", self._stream, self._before, 0)
            waiting: list[tuple[_Slot, int, int]] = []
            for copy in copies:
                for at, count in _pieces(copy.size):
                    if len(waiting) == _SLOTS:
                        self._take(*waiting.pop(0))
                    slot = self._free_slot()
                    call("cuMemcpyDtoHAsync", slot.address, copy.source + at, count, self._stream)
                    call("cuEventRecord", slot.event, self._stream)
                    waiting.append((slot, copy.target + at, count))
            for each in waiting:
                self._take(*each)

    def _take(self, slot: _Slot, target: int, count: int) -> None:
        self._api.call("cuEventSynchronize", slot.event)
        ctypes.memmove(target, slot.address, count)

    def _free_slot(self) -> _Slot:
        """Return the slot that was used longest ago, once its copy is done."""
        slot = self._slots[self._next]
        self._next = (self._next + 1) % _SLOTS
        if slot.is_used:
            self._api.call("cuEventSynchronize", slot.event)
        slot.is_used = True
        return slot


def _pieces(size: int) -> Iterator[tuple[int, int]]:
    for at in range(0, size, PIECE):
        yield at, min(PIECE, size - at)
