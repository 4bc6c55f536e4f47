"""Background runs: threads that take them from a queue.

Kept by the number of threads of a run, as teams are: as many runs at once as there are processors
for them, whatever the number of sessions. A forked child begins with none. When the interpreter
ends, requests that have not begun are cancelled, and those that run are waited for: a run writes
into memory that Python would free.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from ..errors import KernelError
from .processors import available_processors

Callback: TypeAlias = Callable[[list[Any], Any, str], object]
_Request: TypeAlias = "tuple[Future[list[Any]], Callable[..., list[Any]], tuple[Any, ...]]"


class _Workers:
    """Threads that take requests from one queue, started when there are none to spare."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._busy = 0  # requests that wait or run
        self._closed = False

    def submit(self, request: _Request) -> None:
        with self._lock:
            if self._closed:
                raise KernelError("no run can begin any more: the interpreter is ending")
            if len(self._threads) < min(self._busy + 1, self._limit):
                name = f"sardonyx-run-{len(self._threads)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                try:
                    thread.start()
                    self._threads.append(thread)
                except (RuntimeError, MemoryError) as error:
                    if not self._threads:  # else these do it
                        raise KernelError(
                            f"no thread can be started for the run: {error}"
                        ) from error
            self._busy += 1
            self._queue.put(request)

    def _work(self) -> None:
        while (request := self._queue.get()) is not None:
            _answer(*request)
            del request  # an idle thread keeps no session alive
            with self._lock:
                self._busy -= 1

    def close(self) -> None:
        """Cancel the requests that wait, and wait for those that run."""
        with self._lock:
            self._closed = True
        try:
            while request := self._queue.get_nowait():
                request[0].cancel()
        except Empty:
            pass
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()


def _answer(
    future: Future[list[Any]], run: Callable[..., list[Any]], arguments: tuple[Any, ...]
) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        results = run(*arguments)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(results)


_workers: dict[int, _Workers] = {}


def submit(
    run: Callable[..., list[Any]],
    arguments: tuple[Any, ...],
    threads: int,
    callback: Callback | None = None,
    user_data: Any = None,
) -> Future[list[Any]]:
    """Call a function in the background.

    Parameters
    ----------
    run : callable
    arguments : tuple
    threads : int
        How many processors one call keeps busy.
    callback : callable, optional
        Called with the results, ``user_data`` and an empty string, or with no results and the
        error's text; what it raises is logged by ``concurrent.futures``.
    user_data
        Given to the callback.

    Returns
    -------
    Future
    """
    future: Future[list[Any]] = Future()
    if callback is not None:
        future.add_done_callback(lambda done: callback(*_outcome(done, user_data)))
    workers = _workers.get(threads)
    if workers is None:
        limit = max(1, available_processors() // threads)
        workers = _workers.setdefault(threads, _Workers(limit))
    workers.submit((future, run, arguments))
    return future


def _outcome(done: Future[list[Any]], user_data: Any) -> tuple[list[Any], Any, str]:
    if done.cancelled():
        return [], user_data, "the run was cancelled before it began"
    error = done.exception()
    if error is None:
        return done.result(), user_data, ""
    return [], user_data, str(error) or type(error).__name__


@atexit.register
def _close_all() -> None:
    for workers in list(_workers.values()):
        workers.close()


# The parent's threads do not run in a forked child.
os.register_at_fork(after_in_child=_workers.clear)
