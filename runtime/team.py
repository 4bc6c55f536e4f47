"""Threads that walk a program together.

A team is a few words of shared memory and ``threads - 1`` Python threads that sit in compiled
code without the GIL (``kernels.cpu.team``); between runs they look for work for some microseconds,
then sleep on a semaphore.
Teams are kept by size, lent to one run at a time, and end with the last engine that uses their
size; a forked child begins with none. When the interpreter ends, their threads sleep.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable

import numpy as np

from ..errors import KernelError
from ..forks import fork_lock
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
from ..kernels.record import address_of
from ..kernels.ref import KernelRef

EXECUTOR_KERNELS = {
    "work": KernelRef("kernels.cpu.team", "work"),
    "run": KernelRef("kernels.cpu.calls", "run"),
    **{
        name: KernelRef("kernels.cpu.executor", name)
        for name in ("plan", "fill", "evaluate", "schedule")
    },
}
"""Kernels that every session needs beside its program's, by name."""

_libc = ctypes.CDLL(None)


def executor_function(name: str) -> int:
    """Address of one of the executor's compiled functions."""
    return kernel_address(EXECUTOR_KERNELS[name])


class Team:
    """``threads`` threads, the caller's own among them.

    Raises
    ------
    KernelError
        The system does not give so many threads, or no memory for them.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        # One line more than needed, so that the words can begin at a cache line. The workers hold
        # the array, too: they look at it for a moment after the team is stopped.
        try:
            memory = np.zeros(TEAM_LINES + LINE_WORDS * threads + 8, np.int64)
        except MemoryError as error:
            raise KernelError(f"no memory for a team of {threads} threads") from error
        first = -address_of(memory) % 64 // 8
        self._words = memory[first : first + TEAM_LINES + LINE_WORDS * threads]
        self.address = address_of(self._words)
        for thread in range(threads):
            if _libc.sem_init(self._semaphore(thread), 0, 0):
                raise KernelError("the system gives no semaphore")
        self._words[TEAM_RECORD] = self.address
        work = native_function(executor_function("work"))
        try:
            for thread in range(1, threads):
                fork_lock.pass_by()  # no thread begins when the interpreter ends
                threading.Thread(
                    target=_serve,
                    args=(work, self._words, thread, threads),
                    name=f"sardonyx-{thread}",
                    daemon=True,
                ).start()
        except (RuntimeError, MemoryError, OSError) as error:
            self.stop()
            raise KernelError(
                f"thread {thread + 1} of {threads} cannot be started ({error}): open the session "
                "with fewer threads"
            ) from error

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


def _serve(work: Callable[..., int], words: np.ndarray, thread: int, threads: int) -> None:
    """Be a worker until the team is stopped; ``words`` stay as long."""
    work(address_of(words) + 8 * TEAM_RECORD, thread, thread, thread + 1, threads)


_idle: dict[int, list[Team]] = {}
_users: dict[int, set[weakref.ref[object]]] = {}
"""Engines that live, by the size of their teams."""


def enroll(engine: object, threads: int) -> None:
    """Let idle teams of a size end when no engine lives any more that uses them."""
    users = _users.setdefault(threads, set())

    # Not weakref.finalize: Python 3.11 walks those at its end while other threads may add some.
    # What it calls it holds itself: an engine may outlive the names of this module.
    def leave(
        reference: weakref.ref[object],
        is_ending: Callable[[], bool] = sys.is_finalizing,
        stop: Callable[[int], None] = stop_idle,
    ) -> None:
        users.discard(reference)
        if not users and not is_ending():
            stop(threads)

    users.add(weakref.ref(engine, leave))


def stop_idle(threads: int) -> None:
    """Let the threads of idle teams of a size end; runs that come make new ones."""
    # Lists and dictionaries change in one go under the GIL, so there is nothing to lock.
    while teams := _idle.get(threads):
        try:
            team = teams.pop()
        except IndexError:  # another thread took it first
            continue
        team.stop()


def borrow(threads: int) -> Team:
    """Take an idle team of a size, or a new one when all are busy; to be given back."""
    try:
        return _idle[threads].pop()
    except (KeyError, IndexError):
        return Team(threads)


def give_back(team: Team) -> None:
    """Let others borrow a team again."""
    _idle.setdefault(team.threads, []).append(team)


def _forget() -> None:
    """Forget the parent's threads in a forked child: they do not run here."""
    _idle.clear()


os.register_at_fork(after_in_child=_forget)
