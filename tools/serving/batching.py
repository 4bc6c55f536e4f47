"""Batcher: the queue of one model, from which requests are run together.

It lives in an event loop and runs in threads; it knows nothing of HTTP. Requests are run in the
order in which they came, each with the later ones of its kind that fit. A request that its caller
cancels leaves the queue; when all requests of a run have been cancelled, so is the run.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from ...errors import SardonyxError
from ...runtime import background
from ...runtime.cancellation import Cancellation
from .workers import Workers


class QueueFull(SardonyxError):
    """As many requests wait as may."""


class Closed(SardonyxError):
    """No further requests are taken."""


class Observer(Protocol):
    """What is told of runs, for metrics."""

    def queued(self, length: int) -> None:
        """Take note of how many requests wait."""

    def ran(self, rows: int, waited: Sequence[float], seconds: float) -> None:
        """Take note of a run: its rows, how long each request had waited, how long it took."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """A request; requests of one ``kind`` may be joined, and None is alone."""

    content: Any
    rows: int
    kind: Hashable
    future: asyncio.Future[Any]
    since: float
    run: _Run | None = None


@dataclass(eq=False, slots=True)
class _Run:
    """Requests that are run together."""

    requests: list[_Waiting]
    cancellation: Cancellation = field(default_factory=Cancellation)
    began: float = 0.0


class Batcher:
    """Runs requests of one model.

    Parameters
    ----------
    run : callable
        Called in a thread with the contents of requests and a `Cancellation`; returns a result, or
        an exception, for each.
    workers : Workers
    observer : Observer
    max_rows : int
        Rows that are run together, but for a request that has more alone.
    max_wait : float
        Seconds that a request waits for others while less than ``max_rows`` are there.
    max_queue : int
        Requests that wait.
    threads : int
        That a run keeps busy.
    """

    def __init__(
        self,
        run: Callable[[list[Any], Cancellation], list[Any]],
        workers: Workers,
        observer: Observer,
        *,
        max_rows: int = 1,
        max_wait: float = 0.0,
        max_queue: int = 256,
        threads: int = 1,
    ) -> None:
        self._call = run
        self._workers = workers
        self._observer = observer
        self._max_rows = max_rows
        self._max_wait = max_wait if max_rows > 1 else 0.0
        self._max_queue = max_queue
        self._threads = threads
        self._queue: deque[_Waiting] = deque()
        self._running = 0
        self._is_asking = False
        self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __len__(self) -> int:
        """Count the requests that wait."""
        return len(self._queue)

    def submit(self, content: Any, rows: int = 1, kind: Hashable = None) -> asyncio.Future[Any]:
        """Queue a request.

        Parameters
        ----------
        content
            What ``run`` is given.
        rows : int
        kind : hashable, optional
            Requests of one kind may be run together.

        Returns
        -------
        Future
            Cancel it to give the request up.

        Raises
        ------
        QueueFull, Closed
        """
        if self._is_closed:
            raise Closed("the model is being closed")
        if len(self._queue) >= self._max_queue:
            raise QueueFull(f"{len(self._queue)} requests wait for the model already")
        future: asyncio.Future[Any] = self._loop.create_future()
        waiting = _Waiting(content, rows, kind, future, time.perf_counter())
        future.add_done_callback(lambda done: self._abandon(waiting) if done.cancelled() else None)
        self._queue.append(waiting)
        self._ask()
        if self._queue:
            self._observer.queued(len(self._queue))
        return future

    async def close(self) -> None:
        """Take no further requests, and wait until those that are there have been answered."""
        self._is_closed = True
        self._ask()
        while self._queue or self._running:
            await asyncio.sleep(0.01)

    # --- the queue ----------------------------------------------------------------------------

    def _ask(self) -> None:
        """Ask for a slot if the oldest request should not wait any longer."""
        if self._is_asking or not self._queue:
            return
        left = self._left()
        if left <= 0:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            self._is_asking = True
            self._workers.ask(self._take)
        elif self._timer is None:
            self._timer = self._loop.call_later(left, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self._ask()

    def _left(self) -> float:
        """Seconds that the oldest request may still wait for others."""
        head = self._queue[0]
        if self._is_closed or not self._max_wait or head.kind is None:
            return 0.0
        if sum(each.rows for each in self._queue if each.kind == head.kind) >= self._max_rows:
            return 0.0
        return head.since + self._max_wait - time.perf_counter()

    def _take(self) -> bool:
        """Run the oldest request, and those that join it, in a slot; or leave the slot."""
        self._is_asking = False
        if not self._queue:
            return False
        run = _Run(self._batch())
        for each in run.requests:
            each.run = run
        self._observer.queued(len(self._queue))
        self._running += 1
        contents = [each.content for each in run.requests]
        done: Future[Any] = background.submit(
            self._call, (contents, run.cancellation), self._threads
        )
        run.began = time.perf_counter()
        done.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._end, run, done))
        self._ask()
        return True

    def _batch(self) -> list[_Waiting]:
        """Take the oldest request off the queue, and later ones of its kind that fit."""
        head = self._queue.popleft()
        batch, rows = [head], head.rows
        if head.kind is None or rows >= self._max_rows:
            return batch
        others: deque[_Waiting] = deque()
        while self._queue:
            each = self._queue.popleft()
            if each.kind == head.kind and rows + each.rows <= self._max_rows:
                batch.append(each)
                rows += each.rows
            else:
                others.append(each)
        self._queue = others
        return batch

    def _abandon(self, waiting: _Waiting) -> None:
        """Forget a request that was given up."""
        if waiting.run is None:
            self._queue.remove(waiting)
            self._observer.queued(len(self._queue))
        elif all(each.future.cancelled() for each in waiting.run.requests):
            waiting.run.cancellation.cancel()

    def _end(self, run: _Run, done: Future[Any]) -> None:
        """Hand out the results of a run."""
        self._running -= 1
        now = time.perf_counter()
        error = done.exception()
        outcomes = [error] * len(run.requests) if error is not None else done.result()
        for each, outcome in zip(run.requests, outcomes, strict=True):
            if each.future.done():
                continue
            if isinstance(outcome, BaseException):
                each.future.set_exception(outcome)
            else:
                each.future.set_result(outcome)
        rows = sum(each.rows for each in run.requests)
        waited = [run.began - each.since for each in run.requests]
        self._observer.ran(rows, waited, now - run.began)
        self._workers.release()
