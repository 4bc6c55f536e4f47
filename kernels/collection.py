"""Collection of cyclic garbage while many objects are made that stay: rarer than usual."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (50_000, 5, 2)
"""New objects, and collections before older ones are looked at."""


@contextmanager
def rare_collection() -> Iterator[None]:
    """Let cyclic garbage be collected rarely while a model is opened or a kernel compiled.

    Each time, a growing graph is walked for nothing. It is a state of the process: for one thread
    at a time.
    """
    before = gc.get_threshold()
    if before[0]:  # 0 stands for never
        gc.set_threshold(*map(max, _THRESHOLDS, before))
    try:
        yield
    finally:
        gc.set_threshold(*before)
