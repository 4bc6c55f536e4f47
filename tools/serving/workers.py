"""Workers: how many runs go on at once, over all models; batchers take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Workers:
    """Slots for runs.

    Who wants one leaves a callable, which is called when it is its turn and says whether it used
    the slot; what is run is chosen then, so that requests join others as long as they wait.

    Parameters
    ----------
    count : int
        Runs that go on at once.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._free = count
        self._waiting: deque[Callable[[], bool]] = deque()

    def ask(self, take: Callable[[], bool]) -> None:
        """Have a callable called as soon as a slot is free, maybe at once."""
        self._waiting.append(take)
        self._serve()

    def release(self) -> None:
        """Give a slot back."""
        self._free += 1
        self._serve()

    def _serve(self) -> None:
        while self._free and self._waiting:
            self._free -= 1
            if not self._waiting.popleft()():
                self._free += 1
