"""Trials of forms of code: which of some that compute the same is fastest on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_LOW = 0.1
"""Quantile of times that stands for a form: what else the machine does only adds to them."""
_APART_S = 0.5
"""Pause between bursts: others that share a core disturb it for tenths of seconds, or some."""


def fastest(forms: Sequence[Callable[[], Any]], turns: int) -> int:
    """Let forms take turns; return the index of the fastest."""
    return int(np.argmin(least_times(forms, turns)))


def least_times(forms: Sequence[Callable[[], Any]], turns: int, bursts: int = 1) -> list[float]:
    """Let forms take turns; return a time of each in nanoseconds, as short as there are some.

    Times are those of the thread: on a busy machine a form is interrupted in most of its turns.
    Where forms use units of their own, which another thread of the core slows down more than it
    does others, ``bursts`` of turns with pauses between them find a moment without it.
    """
    times: list[list[int]] = [[] for _ in forms]
    for burst in range(bursts):
        if burst > 0:
            time.sleep(_APART_S)
        for _ in range(turns):
            for form, own in zip(forms, times, strict=True):
                start = time.thread_time_ns()
                form()
                own.append(time.thread_time_ns() - start)
    return [float(np.quantile(own, _LOW / bursts)) for own in times]
