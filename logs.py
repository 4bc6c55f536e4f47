"""Loggers of other packages, silenced for a while."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

exclusive = threading.RLock()
"""Held while state that all threads share is changed for a while: loggers, functions of
frameworks, the environment. One lock for all of it: whoever changes functions also silences."""


def _renew() -> None:
    """Free the lock in a forked child where a thread that the child lacks has it."""
    if not exclusive._is_owned():  # type: ignore[attr-defined]
        exclusive._at_fork_reinit()  # type: ignore[attr-defined]


os.register_at_fork(after_in_child=_renew)


@contextmanager
def silenced(
    *names: str, level: int = logging.CRITICAL, handler: logging.Handler | None = None
) -> Iterator[None]:
    """Keep records of loggers below a level from everybody.

    Parameters
    ----------
    *names : str
        The loggers.
    level : int
        Of the records that still come through.
    handler : logging.Handler, optional
        What gets those records instead of the application's handlers.
    """
    with exclusive:
        loggers = [logging.getLogger(name) for name in names]
        states = [(logger.level, logger.propagate) for logger in loggers]
        try:
            for logger in loggers:
                logger.setLevel(level)
                if handler is not None:
                    logger.addHandler(handler)
                    logger.propagate = False
            yield
        finally:
            for logger, (old_level, propagates) in zip(loggers, states, strict=True):
                logger.setLevel(old_level)
                if handler is not None:
                    logger.removeHandler(handler)
                    logger.propagate = propagates
