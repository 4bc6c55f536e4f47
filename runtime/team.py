"""Threads that walk a program together.

A team is a few words of shared memory and ``threads - 1`` Python threads that sit in compiled
code without the GIL (``kernels.cpu.team``); between runs they look for work for some microseconds,
then sleep on a semaphore.
Teams are kept by size and lent to one run at a time; a forked child begins with none.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading

import numpy as np

from ..kernels.abi import (
    LINE_SEMAPHORE,
    LINE_SHARE,
    LINE_WORDS,
    SHARE_SHIFT,
    TEAM_LINES,
    TEAM_RECORD,
    TEAM_STOP,
)
from ..kernels.compiler import kernel_address, native_function
from ..kernels.ref import KernelRef

EXECUTOR_KERNELS = {
    "work": KernelRef("kernels.cpu.team", "work"),
    **{
        name: KernelRef("kernels.cpu.executor", name)
        for name in ("run", "plan", "fill", "evaluate", "schedule")
    },
}
"""Kernels that every session needs beside its program's, by name."""

_libc = ctypes.CDLL(None)
_libc.calloc.argtypes, _libc.calloc.restype = (ctypes.c_size_t, ctypes.c_size_t), ctypes.c_size_t


def executor_function(name: str) -> int:
    """Address of one of the executor's compiled functions."""
    return kernel_address(EXECUTOR_KERNELS[name])


class Team:
    """``threads`` threads, the caller's own among them."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        # One line more than needed, so that the words can begin at a cache line. Never freed:
        # workers look at them for a moment after the team is stopped, or lost by an exception.
        words = TEAM_LINES + LINE_WORDS * threads
        memory = _libc.calloc(words + 8, 8)
        if not memory:
            raise MemoryError("no memory for a team of threads")
        self.address = -(-memory // 64) * 64
        array = (ctypes.c_int64 * words).from_address(self.address)
        self._words = np.ctypeslib.as_array(array)
        for thread in range(threads):
            if _libc.sem_init(self._semaphore(thread), 0, 0):
                raise OSError("sem_init failed")
        work = native_function(executor_function("work"))
        self._words[TEAM_RECORD] = self.address
        for thread in range(1, threads):
            threading.Thread(
                target=work,
                args=(self.address + 8 * TEAM_RECORD, thread, thread, thread + 1, threads),
                name=f"sardonyx-{thread}",
                daemon=True,
            ).start()

    def stop(self) -> None:
        """Let the workers end; the team must be idle."""
        self._words[TEAM_STOP] = 1
        # Another number in their shares makes the workers look.
        self._words[TEAM_LINES + LINE_SHARE :: LINE_WORDS] += 1 << 2 * SHARE_SHIFT
        for thread in range(self.threads):
            _libc.sem_post(self._semaphore(thread))

    def _semaphore(self, thread: int) -> ctypes.c_void_p:
        word = TEAM_LINES + LINE_WORDS * thread + LINE_SEMAPHORE
        return ctypes.c_void_p(self.address + 8 * word)


_idle: dict[int, list[Team]] = {}


def borrow(threads: int) -> Team:
    """Take an idle team of a size, or a new one when all are busy; to be given back."""
    try:
        return _idle[threads].pop()
    except (KeyError, IndexError):
        return Team(threads)


def give_back(team: Team) -> None:
    """Let others borrow a team again."""
    # Lists and dictionaries change in one go under the GIL, so there is nothing to lock.
    _idle.setdefault(team.threads, []).append(team)


@atexit.register
def _stop_all() -> None:
    teams = [team for stock in _idle.values() for team in stock]
    _idle.clear()
    for team in teams:
        team.stop()


def _forget() -> None:
    """Forget the parent's threads in a forked child: they do not run here."""
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
