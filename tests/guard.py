"""Guard mode: every buffer of a run lies beside a page without access, in memory that is poisoned.

An access beyond a buffer ends the process with a signal, a write into what is left of its page is
found after the run, and a result that was not written, or made of what was not, shows the poison.
Guarded are inputs, outputs, weights, results of host steps and the buffers of the arena, each in
pages of its own. A buffer ends at the page without access, or begins at it, by ``side``.

``with guarded("end"):`` holds for sessions that are opened and run inside.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary
from zlib import crc32

import numpy as np
import pytest
from sardonyx.kernels.abi import (
    ALIGNMENT,
    ARENA,
    BUFFER_KIND,
    BUFFER_PHASE,
    BUFFER_SIZE,
    HOST,
    WEIGHTS,
)
from sardonyx.runtime import executor
from sardonyx.runtime.binding import Binding
from sardonyx.runtime.executor import Context
from sardonyx.runtime.memory import allocated

SIDES = ("end", "begin")
POISON = 0xCB
"""Of the bytes of fresh memory: a large negative number of every type."""
LARGEST = 1 << 27
"""Bytes of a buffer that is guarded; larger ones would take the memory of the tests."""
_PAGE = mmap.PAGESIZE

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Room:
    """Memory between two pages without access.

    Parameters
    ----------
    nbytes : int
    alignment : int
        The first byte lies at a multiple of it.
    side : {"end", "begin"}
        Where no other byte, or fewer than ``alignment``, lies before the page without access.

    Attributes
    ----------
    memory : ndarray of uint8
        The ``nbytes``, poisoned.
    """

    def __init__(self, nbytes: int, alignment: int, side: str) -> None:
        room = -(-max(nbytes, 1) // alignment) * alignment
        inside = -(-room // _PAGE) * _PAGE
        pages = mmap.mmap(-1, inside + 2 * _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        whole = np.frombuffer(pages, np.uint8)
        for page in (0, _PAGE + inside):
            if _libc.mprotect(_address(whole) + page, _PAGE, 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")
        begin = inside - room if side == "end" else 0
        self._inside = whole[_PAGE : _PAGE + inside]
        self._inside[:] = POISON
        self._rest = self._inside[:begin], self._inside[begin + nbytes :]
        self.memory = self._inside[begin : begin + nbytes]

    @property
    def address(self) -> int:
        """Of the first byte, also where there is none."""
        return _address(self._inside) + len(self._rest[0])

    def contains(self, array: np.ndarray) -> bool:
        """Tell whether an array begins here."""
        return 0 <= _address(array) - self.address < len(self.memory)

    def check(self, what: str) -> None:
        """Fail if something was written beside the memory."""
        for rest in self._rest:
            assert (rest == POISON).all(), f"written beside {what} of {self.memory.nbytes} bytes"


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def empty(shape: Any, dtype: Any, side: str) -> np.ndarray:
    """Return poisoned memory of a shape beside a page without access."""
    dtype = np.dtype(dtype)
    nbytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if nbytes > LARGEST or dtype.hasobject:
        return allocated(shape, dtype, "an array")
    return Room(nbytes, dtype.itemsize, side).memory.view(dtype).reshape(shape)


def copied(array: np.ndarray, side: str) -> np.ndarray:
    """Return a copy of an array beside a page without access."""
    if array.dtype.hasobject:
        return array
    copy = empty(array.shape, array.dtype, side)
    copy[...] = array
    return copy


class _Rooms:
    """Rooms of a binding's weights and of the buffers in its arena."""

    def __init__(self, binding: Binding, side: str) -> None:
        self._side = side
        self._rooms: dict[int, Room] = {}
        self._kinds = binding.program.buffers[:, BUFFER_KIND]
        self._phases = binding.program.buffers[:, BUFFER_PHASE]

    def place(self, binding: Binding, phase: int) -> None:
        """Let buffers have rooms instead of places in the arena: those of a phase new ones."""
        for index in np.flatnonzero((self._kinds == ARENA) & (self._phases <= phase)).tolist():
            if self._phases[index] == phase:
                self._rooms.pop(index, None)
                nbytes = self._nbytes(binding, index)
                if nbytes <= LARGEST:
                    self._rooms[index] = Room(nbytes, ALIGNMENT, self._side)
            if index in self._rooms:
                binding.bases[index] = self._rooms[index].address
        self._place_weights(binding)

    def contains(self, array: np.ndarray) -> bool:
        """Tell whether an array lies in a room."""
        return any(room.contains(array) for room in self._rooms.values())

    def _place_weights(self, binding: Binding) -> None:
        """Weights have one base; where a constant begins is part of its tensor's offset."""
        first, weights = 0, binding.program.weights.reshape(-1).view(np.uint8)
        for index in np.flatnonzero(self._kinds == WEIGHTS).tolist():
            nbytes = self._nbytes(binding, index)
            if index not in self._rooms and nbytes <= LARGEST:
                room = self._rooms[index] = Room(nbytes, ALIGNMENT, self._side)
                room.memory[:] = weights[first : first + nbytes]
                binding.bases[index] = room.address - first
            first += -(-nbytes // ALIGNMENT) * ALIGNMENT

    def _nbytes(self, binding: Binding, index: int) -> int:
        return binding.value(int(binding.program.buffers[index, BUFFER_SIZE]))

    def check(self) -> None:
        """Fail if something was written beside a room."""
        for index, room in self._rooms.items():
            room.check(f"buffer {index}")


@pytest.fixture(autouse=True)
def guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run a test in guard mode: on the side that ``GUARD_SIDE`` says, or on each in turn."""
    turn = crc32(request.node.nodeid.encode()) % 2
    with guarded(os.environ.get("GUARD_SIDE", SIDES[turn])):
        yield


@contextmanager
def guarded(side: str) -> Iterator[None]:
    """Guard the runs of all sessions whose first run is inside."""
    rooms: WeakKeyDictionary[Binding, _Rooms] = WeakKeyDictionary()
    place, attach, run = Binding._place, Binding.attach, Context.run
    is_working_memory = Binding.is_working_memory

    def guarded_place(binding: Binding, phase: int) -> None:
        place(binding, phase)
        if binding not in rooms:
            rooms[binding] = _Rooms(binding, side)
        rooms[binding].place(binding, phase)

    def is_guarded(binding: Binding, array: np.ndarray) -> bool:
        return rooms[binding].contains(array) or is_working_memory(binding, array)

    def guarded_attach(binding: Binding, buffer: int, value: Any) -> None:
        is_result = binding.program.buffers[buffer, BUFFER_KIND] == HOST
        if is_result and isinstance(value, np.ndarray):
            value = copied(value, side)
        attach(binding, buffer, value)

    def guarded_run(context: Context, arrays: Sequence[Any], *args: Any) -> list[Any]:
        inputs = [copied(a, side) if isinstance(a, np.ndarray) else a for a in arrays]
        results = run(context, inputs, *args)
        rooms[context.binding].check()
        for given, used in zip(arrays, inputs, strict=True):
            if isinstance(given, np.ndarray) and not given.dtype.hasobject:
                assert given.tobytes() == used.tobytes(), "an input was written"
        return results

    with (
        patch.object(Binding, "_place", guarded_place),
        patch.object(Binding, "is_working_memory", is_guarded),
        patch.object(Binding, "attach", guarded_attach),
        patch.object(Context, "run", guarded_run),
        patch.object(Context, "call", lambda *_: None),
        patch.object(executor, "_empty", lambda shape, dtype: empty(shape, dtype, side)),
        patch.object(executor, "allocated", lambda shape, dtype, _: empty(shape, dtype, side)),
    ):
        yield
