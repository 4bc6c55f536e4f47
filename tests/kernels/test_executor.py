"""Small steps are left to the first thread, in runs that end at a step worth sharing."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.cpu import executor


def ends(*nanoseconds: int, of: int = executor.BYTES_PER_NS, column: int = 1) -> list[int]:
    """Where the run of small steps ends at each step, of steps that take so long."""
    costs = np.zeros((len(nanoseconds), 2), np.int64)
    costs[:, column] = np.arange(len(nanoseconds))
    values = of * np.array([*nanoseconds, 0], np.int64)
    costs[:, 1 - column] = len(nanoseconds)
    steps = np.full((len(nanoseconds), 3), -1, np.int64)
    assert executor.schedule(costs=costs, count=len(steps), values=values, steps=steps) == 0
    assert (steps[:, :2] == -1).all()
    return steps[:, 2].tolist()


SMALL, LARGE = executor.ALONE_NS, executor.ALONE_NS + 1


def test_a_run_of_small_steps_ends_at_a_large_one_or_at_the_end():
    assert ends(SMALL, 0, LARGE, SMALL, LARGE, LARGE, 1, 2) == [2, 2, 2, 4, 4, 5, 8, 8]
    assert ends(LARGE) == [0]
    assert ends(SMALL) == [1]
    assert ends() == []


@pytest.mark.parametrize("column", [0, 1])
def test_operations_and_bytes_count(column):
    of = (executor.OPERATIONS_PER_NS, executor.BYTES_PER_NS)[column]
    assert ends(SMALL, LARGE, of=of, column=column) == [1, 1]
