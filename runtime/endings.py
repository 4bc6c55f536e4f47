"""End of the interpreter: runs in other threads are cancelled, and the threads stay out of Python.

Once the interpreter takes itself apart, it ends a thread that wants the GIL. One that waits for it
already, or is just starting, may use its state after that is freed: the process crashes, or the
interpreter waits for ever. One that is in C++ (numpy's ``unique``, say) aborts the process, if a
destructor takes the GIL. So none is left that will want the GIL. After all callbacks of ``atexit``
the runs are cancelled, and sessions that are being opened are waited for; who comes back, or begins
another run, stays at the fork lock. Code that does not come back in time walks on: what it uses is
never freed, since Python does not clear the frames of its thread.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..forks import at_last, fork_lock

_PATIENCE_SECONDS = 5.0
_MOMENT_SECONDS = 0.001
"""Enough for a thread that is between two runs to begin the second one."""


class Context(Protocol):
    """What has runs, one at a time."""

    @property
    def is_walking(self) -> bool:
        """Whether a thread is in compiled code, or waits for the GIL after it."""

    def cancel(self) -> None:
        """Let the run in progress, or else the next one, stop early."""

    def forget_walk(self) -> None:
        """Forget the thread in compiled code, which a forked child lacks."""


_contexts: set[weakref.ref[Context]] = set()
_openers: list[int] = []
"""Threads that open a session, as often as they do."""


def register(context: Context) -> None:
    """Let the runs of a context be cancelled when the interpreter ends."""
    _contexts.add(weakref.ref(context, _contexts.discard))


@contextmanager
def awaited() -> Iterator[None]:
    """Have the end of the interpreter wait for what is done meanwhile."""
    fork_lock.pass_by()
    thread = threading.get_ident()
    _openers.append(thread)
    try:
        yield
    finally:
        _openers.remove(thread)


def _living() -> list[Context]:
    # Sets are copied in one go under the GIL.
    return [context for reference in list(_contexts) if (context := reference()) is not None]


def _are_quiet() -> bool:
    """Tell whether no thread is in compiled code, opens a session, or is just starting."""
    return (
        all(thread.ident is not None for thread in threading.enumerate())
        and all(map(fork_lock.is_awaited_by, list(_openers)))
        and not any(context.is_walking for context in _living())
    )


def _end_runs() -> None:
    """Cancel the runs of other threads, and wait until those have left our code."""
    fork_lock.close()
    end = time.monotonic() + _PATIENCE_SECONDS
    while threading.active_count() > 1 and time.monotonic() < end:
        for context in _living():
            context.cancel()
        time.sleep(_MOMENT_SECONDS)
        if _are_quiet():
            break


def _forget() -> None:
    _openers[:] = [thread for thread in _openers if thread == threading.get_ident()]
    for context in _living():
        context.forget_walk()


at_last(_end_runs)
os.register_at_fork(after_in_child=_forget)
