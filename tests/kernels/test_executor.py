"""Small steps are one part, in runs that end at a step worth sharing; others have several."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.abi import (
    FEW_PARTS,
    MANY_PARTS,
    OVERFLOW,
    SLICED_PARTS,
    STEP_COLUMNS,
    STEP_END,
    STEP_KERNEL,
    STEP_PARTS,
    STEP_RECORD,
    UNKNOWN,
)
from sardonyx.kernels.cpu import executor

PER_NS, ALONE_NS = 32, 1000


def schedule(*nanoseconds: int, of: int = PER_NS, column: int = 1) -> tuple[list[int], list[int]]:
    """Where the run of small steps ends at each step, and the parts, of steps that take so long."""
    costs = np.zeros((len(nanoseconds), 2), np.int64)
    costs[:, column] = np.arange(len(nanoseconds))
    values = of * np.array([*nanoseconds, 0], np.int64)
    costs[:, 1 - column] = len(nanoseconds)
    steps = np.full((len(nanoseconds), STEP_COLUMNS), -1, np.int64)
    rates = {"operations_per_ns": PER_NS, "bytes_per_ns": PER_NS, "alone_ns": ALONE_NS}
    tables = {"costs": costs, "count": len(steps), "values": values, "steps": steps}
    assert executor.schedule(**tables, **rates) == 0
    assert (steps[:, [STEP_KERNEL, STEP_RECORD]] == -1).all()
    return steps[:, STEP_END].tolist(), steps[:, STEP_PARTS].tolist()


def ends(*nanoseconds: int, **options: int) -> list[int]:
    return schedule(*nanoseconds, **options)[0]


SMALL, LARGE = ALONE_NS, ALONE_NS + 1


def test_a_run_of_small_steps_ends_at_a_large_one_or_at_the_end():
    assert ends(SMALL, 0, LARGE, SMALL, LARGE, LARGE, 1, 2) == [2, 2, 2, 4, 4, 5, 8, 8]
    assert ends(LARGE) == [0]
    assert ends(SMALL) == [1]
    assert ends() == []


@pytest.mark.parametrize("column", [0, 1])
def test_operations_and_bytes_count(column):
    assert ends(SMALL, LARGE, column=column) == [1, 1]


def test_steps_have_parts_by_their_cost():
    long = executor.LONG_NS
    assert schedule(0, SMALL, LARGE, long - 1, long)[1] == [1, 1, FEW_PARTS, FEW_PARTS, MANY_PARTS]


@pytest.mark.parametrize("column", [0, 1])
def test_a_cost_beyond_64_bits_is_large_and_one_that_is_not_known_small(column):
    assert schedule(SMALL, OVERFLOW, UNKNOWN, of=1, column=column)[1] == [1, SLICED_PARTS, 1]
