"""Launches of a binding's steps at certain addresses of inputs and outputs, and graphs of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ....kernels.record import address_of
from .driver import Copy, Driver, Memory

UNMADE = object()
"""Stands for a launch that no run has wanted yet."""
_NEVER_QUEUED = object()
_MAP_BYTES = 128
_LEAST_CAPTURED = 2
"""Launches that are worth a graph."""


class Placement:
    """What is queued for the steps of a binding, as long as sizes and addresses are the same.

    Parameters
    ----------
    driver : Driver
    memory : Memory
        Where the records lie on the GPU.
    words : ndarray of int64
        The records.
    steps, maps : int
        Their number, and the most tensor maps that they have.

    Attributes
    ----------
    words : ndarray of int64
    launches : list
        By step: `UNMADE`; None where there is nothing to launch; or what the driver has prepared.
    captured : dict
        What queues steps all at once, by the first one, the one behind the last and those that are
        left out; None for those that were queued once.
    """

    def __init__(
        self, driver: Driver, memory: Memory, words: np.ndarray, steps: int, maps: int
    ) -> None:
        self._driver, self._memory, self.words = driver, memory, words
        self._maps, self._maps_used = Memory(driver), 0
        if maps:
            self._maps.reserve(_MAP_BYTES * maps)
        self.launches: list[Any] = [UNMADE] * steps
        self.captured: dict[tuple[int, int, frozenset[int]], Callable[[], None] | None] = {}

    def add_map(self, encoded: np.ndarray) -> int:
        """Copy a tensor map to the GPU; returns where it lies."""
        address = self._maps.address + _MAP_BYTES * self._maps_used
        self._driver.to_device(Copy(address, address_of(encoded), _MAP_BYTES))
        self._maps_used += 1
        return address

    def queue(self, first: int, end: int, left_out: frozenset[int]) -> None:
        """Queue launches that are made; those that are queued again are captured as one."""
        key = first, end, left_out
        captured: Any = self.captured.get(key, _NEVER_QUEUED)
        if captured is _NEVER_QUEUED or captured is None:
            wanted = (self.launches[step] for step in range(first, end) if step not in left_out)
            launches = [launch for launch in wanted if launch is not None]
            if captured is _NEVER_QUEUED:
                self.captured[key] = None
                self._driver.queue(launches)
                return
            if len(launches) < _LEAST_CAPTURED:
                captured = partial(self._driver.queue, launches)
            else:
                captured = self._driver.capture(launches)
            self.captured[key] = captured
        captured()
