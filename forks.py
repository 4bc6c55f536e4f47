"""Fork lock: held while modules are imported and code is compiled, so that a fork waits for both.

A forked child has only the thread that forked. What another thread of the parent was importing or
compiling is never finished there, and its locks (Python's of the module, numba's, LLVM's) are never
released: the child would wait for them for ever. The end of the interpreter waits, too: a thread
that compiles would meet the destructors of LLVM.
"""

from __future__ import annotations

import atexit
import logging  # noqa: F401  registers its own lock first, so that a fork takes ours before it
import os
import threading

_PATIENCE_SECONDS = 60.0
"""After so long a fork no longer waits: perhaps what it waits for waits for it."""


class ForkLock:
    """Lock that no other thread holds while the process forks; a thread may take it repeatedly."""

    def __init__(self) -> None:
        self._turn = threading.Lock()  # kept by a fork that waits, so that nobody goes first
        self._held = threading.RLock()
        self._mine = threading.local()

    def __enter__(self) -> None:
        if not getattr(self._mine, "depth", 0):
            with self._turn:
                pass
        self._held.acquire()
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
        if not held:
            self._held = threading.RLock()
        if not turn:
            self._turn = threading.Lock()

    def close(self) -> None:
        """Wait until no other thread holds the lock, and keep it until the process ends."""
        self._held.acquire(timeout=_PATIENCE_SECONDS)


fork_lock = ForkLock()
os.register_at_fork(
    before=fork_lock.before_fork,
    after_in_parent=fork_lock.after_in_parent,
    after_in_child=fork_lock.after_in_child,
)
atexit.register(fork_lock.close)
