"""Cancellation: a request that runs in other threads stop early."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from ..errors import KernelError


class _Context(Protocol):
    """What has runs, one at a time."""

    def cancel(self) -> None:
        """Ask the run in progress to stop."""

    def withdraw(self) -> None:
        """Take back what `cancel` asked for."""


class Cancellation:
    """Request that runs stop early; one object may be given to several runs at the same time.

    A run notices it after the step that it is in, or, in a long step of the CPU, within about
    10 ms; it then raises `KernelError`. A run that begins after the request does not start.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._contexts: list[_Context] = []
        self._is_cancelled = False

    @property
    def is_cancelled(self) -> bool:
        """Whether runs were asked to stop."""
        return self._is_cancelled

    def cancel(self) -> None:
        """Ask the runs in progress, and those to come, to stop."""
        with self._lock:
            self._is_cancelled = True
            for context in self._contexts:
                context.cancel()

    def renew(self) -> None:
        """Let further runs go on."""
        with self._lock:
            self._is_cancelled = False

    @contextmanager
    def over(self, context: _Context) -> Iterator[None]:
        """Cancel what a context runs meanwhile, if asked to.

        Raises
        ------
        KernelError
            Runs were asked to stop before.
        """
        with self._lock:
            if self._is_cancelled:
                raise KernelError("the run was cancelled before it began")
            self._contexts.append(context)
        try:
            yield
        finally:
            with self._lock:
                self._contexts.remove(context)
                if self._is_cancelled:  # too late for this run, and not meant for the next one
                    context.withdraw()
