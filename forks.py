"""Fork lock: held while modules are imported and code is compiled, so that a fork waits for both.

A forked child has only the thread that forked. What another thread of the parent was importing or
compiling is never finished there, and its locks (Python's of the module, numba's, LLVM's) are never
released: the child would wait for them for ever. The end of the interpreter waits, too: a thread
that compiles would meet the destructors of LLVM. It keeps the lock, so that whoever comes to it
then stays there.
"""

from __future__ import annotations

import atexit
import logging  # noqa: F401  registers its own lock first, so that a fork takes ours before it
import os
import threading
from collections.abc import Callable

_PATIENCE_SECONDS = 60.0
"""After so long a fork no longer waits: perhaps what it waits for waits for it."""


class ForkLock:
    """Lock that no other thread holds while the process forks; a thread may take it repeatedly."""

    def __init__(self) -> None:
        self._turn = threading.Lock()  # kept by a fork that waits, so that nobody goes first
        self._held = threading.RLock()
        self._mine = threading.local()
        self._waiting: set[int] = set()
        self._is_closed = False

    def __enter__(self) -> None:
        if not getattr(self._mine, "depth", 0):
            with self._turn:
                pass
        self._waiting.add(threading.get_ident())
        self._held.acquire()
        self._waiting.discard(threading.get_ident())
        self._mine.depth = getattr(self._mine, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        self._mine.depth -= 1
        self._held.release()

    def before_fork(self) -> None:
        """Wait until no other thread holds the lock, and keep it."""
        self._mine.turn = self._turn.acquire(timeout=_PATIENCE_SECONDS)
        self._mine.held = self._held.acquire(timeout=_PATIENCE_SECONDS)

    def after_in_parent(self) -> None:
        """Let others have the lock again."""
        if self._mine.held:
            self._held.release()
        if self._mine.turn:
            self._turn.release()

    def after_in_child(self) -> None:
        """Make the lock anew where a thread that the child lacks has it."""
        held, turn = self._mine.held, self._mine.turn
        self.after_in_parent()
        self._waiting.clear()
        if not held:
            self._held = threading.RLock()
        if not turn:
            self._turn = threading.Lock()

    def is_awaited_by(self, thread: int) -> bool:
        """Tell whether a thread, given by its identifier, waits for the lock."""
        return thread in self._waiting

    def close(self) -> None:
        """Wait until no other thread holds the lock, and keep it until the process ends."""
        self._is_closed = self._held.acquire(timeout=_PATIENCE_SECONDS)

    def pass_by(self) -> None:
        """Go on, unless the interpreter ends: threads that do not end it stay here for ever."""
        if self._is_closed:
            with self:
                pass


class _AtLast:
    """Callback of ``atexit`` that acts when it is freed: after all others have been called."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._is_due = False

    def __call__(self) -> None:
        self._is_due = True

    def __del__(self) -> None:
        if self._is_due:
            self._function()


def at_last(function: Callable[[], object]) -> None:
    """Call a function when the interpreter ends, after all callbacks of ``atexit``.

    Those may wait for threads that still compile or run. Python is whole and other threads go on;
    once the function returns, they are ended as soon as they want the GIL.
    """
    atexit.register(_AtLast(function))


code_lock = ForkLock()
"""Held while a thread is in LLVM on behalf of another. Who has it never waits for the other one."""
fork_lock = ForkLock()
# A fork waits for the lock that is registered last first: whoever has that may wait for the other.
for _lock in (code_lock, fork_lock):
    os.register_at_fork(
        before=_lock.before_fork,
        after_in_parent=_lock.after_in_parent,
        after_in_child=_lock.after_in_child,
    )


def _close() -> None:
    fork_lock.close()
    code_lock.close()


at_last(_close)
