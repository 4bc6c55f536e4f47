"""What a check consists of: parts, each a list of tasks, and rows of tables that tasks give."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

Values = Mapping[str, float | str]
_DRAWN = (1 << 22) + 3


class Skipped(Exception):
    """A task cannot be done here; says why."""


class Row(NamedTuple):
    """A row of a table: its title, what the row is of, and values by column."""

    table: str
    name: str
    values: Values


class Task(NamedTuple):
    """A comparison, which raises when something is wrong, or a measurement, which gives rows."""

    name: str
    run: Callable[[], Sequence[Row] | None]


@functools.cache
def drawn(*shape: int) -> np.ndarray:
    """Return normal numbers, which repeat themselves in large arrays: there is little time."""
    count = min(math.prod(shape), _DRAWN)
    numbers = np.random.default_rng(0).standard_normal(count, np.float32)
    array = np.resize(numbers, shape)
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Setting:
    """How a check is done.

    Attributes
    ----------
    simulates : bool
        In numba's simulator, with tiny sizes: a check of the check.
    """

    simulates: bool = False

    def size(self, usual: int, tiny: int) -> int:
        """Return the size that something has."""
        return tiny if self.simulates else usual


@dataclass(frozen=True)
class Part:
    """Tasks that are done in processes of their own.

    Attributes
    ----------
    name : str
    seconds : float
        That it may take in all.
    tasks : callable
        Gives the tasks.
    is_shared : bool
        Whether several processes may do them at once: times of none are taken.
    """

    name: str
    seconds: float
    tasks: Callable[[Setting], list[Task]] = field(repr=False)
    is_shared: bool = False
