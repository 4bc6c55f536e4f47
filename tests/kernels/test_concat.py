from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sardonyx.kernels.cpu.concat import COARSE_BYTES, concat


def check(run: Any, operands: list[np.ndarray], gaps: set[int], pad: int, parts: int) -> None:
    """Concatenate rows of bytes (their strides are free) into a part of a wider array."""
    expected = np.concatenate(operands, 1)
    rows, width = expected.shape
    whole = np.full((rows, width + pad), 7, np.uint8)
    ends = np.cumsum([x.shape[1] for x in operands])
    table = []
    for index, (x, end) in enumerate(zip(operands, ends, strict=True)):
        table += [0 if index in gaps else x.ctypes.data, x.shape[1], x.strides[0]]
        if index in gaps:
            expected[:, end - x.shape[1] : end] = 7
    assert run(
        concat, parts, y=whole, rows=rows, width=width, stride=width + pad, count=len(operands),
        pieces=np.array(table, np.int64),
    ) == 0  # fmt: skip
    np.testing.assert_array_equal(whole[:, :width], expected)
    assert (whole[:, width:] == 7).all()


@pytest.mark.parametrize("parts", [1, 2, 48])
@pytest.mark.parametrize("rows", [0, 1, 3, 100])
def test_runs_of_all_sizes(run: Any, rng: np.random.Generator, rows: int, parts: int) -> None:
    sizes = [*range(20), 31, 32, 33, 63, 64, 65, 127, 128, 129, 1000]
    operands = [rng.integers(8, 250, (rows, size)).astype(np.uint8) for size in sizes]
    check(run, operands, set(), 0, parts)
    check(run, operands, {0, 7, len(sizes) - 1}, 5, parts)


def test_rows_in_several_blocks(run: Any, rng: np.random.Generator) -> None:
    for size in (1, 4, 3, 700):
        rows = 2 * COARSE_BYTES // (3 * size) + 1
        operands = [rng.integers(8, 250, (rows, size)).astype(np.uint8) for _ in range(3)]
        check(run, operands, set(), 0, 2)


def test_rows_may_be_repeated_and_reversed(run: Any, rng: np.random.Generator) -> None:
    x = rng.integers(8, 250, (20, 40)).astype(np.uint8)
    check(run, [x[::-1, 3:20], np.broadcast_to(x[:1, :8], (20, 8)), x[:, :4], x], {3}, 1, 3)


def test_empty_operands_are_not_touched(run: Any, rng: np.random.Generator) -> None:
    y = np.zeros((1, 8), np.uint8)
    table = np.array([1, 0, 0, y.ctypes.data, 0, 0, 2, 0, 9], np.int64)
    assert run(concat, 2, y=y, rows=1, width=0, stride=0, count=3, pieces=table) == 0
    assert run(concat, 2, y=1, rows=0, width=9, stride=9, count=0, pieces=0) == 0


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_runs(run: Any, data: st.DataObject) -> None:
    rows, count = data.draw(st.integers(0, 40)), data.draw(st.integers(1, 9))
    sizes = data.draw(st.lists(st.integers(0, 140), min_size=count, max_size=count))
    base = np.random.default_rng(count).integers(8, 250, (40, 200)).astype(np.uint8)
    operands = [base[:rows, i : i + size] for i, size in enumerate(sizes)]
    gaps = data.draw(st.sets(st.integers(0, count - 1)))
    check(run, operands, gaps, data.draw(st.integers(0, 70)), data.draw(st.integers(1, 60)))
