from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sardonyx.kernels.cpu.copy import RANK, copy

Fields = Callable[..., dict[str, int]]
DTYPES = {1: np.uint8, 2: np.uint16, 4: np.float32, 8: np.float64}


def strides(x: np.ndarray) -> list[int]:
    return [s // x.itemsize for s in x.strides]


def check(run: Any, fields: Fields, source: np.ndarray, target: np.ndarray, threads: int) -> None:
    """Copy between two views of one shape and compare."""
    target[...] = 0
    words = fields("d", source.shape, RANK, 1)
    words |= fields("x", strides(source), RANK, 0) | fields("y", strides(target), RANK, 0)
    assert run(copy(source.itemsize), threads, x=source, y=target, **words) == 0
    np.testing.assert_array_equal(target, source)


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(
    ("shape", "order"),
    [
        ((1, 64, 28, 28), (0, 2, 3, 1)),
        ((2, 28, 28, 33), (0, 3, 1, 2)),
        ((1, 3, 61, 67), (0, 2, 3, 1)),
        ((1, 61, 67, 3), (0, 3, 1, 2)),
        ((70, 2, 58), (0, 2, 1)),
        ((70, 58, 2), (0, 2, 1)),
        ((49, 4, 34), (0, 2, 1)),
        ((49, 34, 4), (0, 2, 1)),
        ((9, 4, 7), (0, 2, 1)),
        ((129, 131), (1, 0)),
        ((5, 7), (1, 0)),
        ((20, 30, 40), (2, 1, 0)),
        ((2, 3, 4, 5, 6, 7), (5, 1, 3, 0, 4, 2)),
        ((2, 3, 2, 3, 2, 3, 2, 3), (7, 5, 3, 1, 6, 4, 2, 0)),
        ((4096,), (0,)),
        ((), ()),
        ((0, 5), (1, 0)),
    ],
)
def test_transposes(
    run: Any, aligned_fields: Fields, rng: np.random.Generator, itemsize: int, threads: int,
    shape: tuple[int, ...], order: tuple[int, ...],
) -> None:  # fmt: skip
    x = rng.integers(1, 250, shape).astype(DTYPES[itemsize])
    check(
        run,
        aligned_fields,
        x.transpose(order),
        np.empty_like(x.transpose(order), order="C"),
        threads,
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_reads_backwards_and_writes_into_a_part(
    run: Any, aligned_fields: Fields, rng: np.random.Generator, threads: int
) -> None:
    x = rng.standard_normal((40, 50, 60)).astype(np.float32)
    whole = np.full((60, 64, 90), 7, np.float32)
    check(run, aligned_fields, x[::-1, 5:37:2, ::-3], whole[:40, 3:19, 30:50], threads)
    whole[:40, 3:19, 30:50] = 7
    assert (whole == 7).all()


def test_repeats_elements_of_stride_0(
    run: Any, aligned_fields: Fields, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((30, 1, 20)).astype(np.float32)
    check(
        run, aligned_fields, np.broadcast_to(x, (30, 40, 20)), np.empty((30, 40, 20), np.float32), 2
    )


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_views(run: Any, aligned_fields: Fields, data: st.DataObject) -> None:
    rank = data.draw(st.integers(1, 4))
    shape = data.draw(st.lists(st.integers(1, 36), min_size=rank, max_size=rank))
    orders = [data.draw(st.permutations(range(rank))) for _ in range(2)]
    views = []
    for order in orders:
        base = np.arange(np.prod([n + 3 for n in shape]), dtype=np.float32)
        base = base.reshape([shape[axis] + 3 for axis in order])
        view = base.transpose(np.argsort(order))
        cuts = [data.draw(st.sampled_from([slice(0, -3), slice(3, None), slice(-4, None, -1)]))
                for _ in shape]  # fmt: skip
        views.append(view[tuple(cuts)])
    check(run, aligned_fields, views[0], views[1], data.draw(st.integers(1, 3)))


@pytest.mark.parametrize("itemsize", [1, 2, 4, 8])
@pytest.mark.parametrize("offset", [0, 1, 5, 15])
@pytest.mark.parametrize("shape", [(40, 512), (512, 40), (320, 320)])
def test_long_rows_are_transposed_wherever_they_begin(
    run: Any, aligned_fields: Fields, rng: np.random.Generator, itemsize: int, offset: int,
    shape: tuple[int, int],
) -> None:  # fmt: skip
    """Blocks begin where lines of memory do, whatever is left at both ends."""
    room = rng.integers(1, 250, offset + shape[0] * shape[1]).astype(DTYPES[itemsize])
    x = room[offset:].reshape(shape)
    check(run, aligned_fields, x.T, np.empty(shape[::-1], x.dtype), 2)
    check(
        run,
        aligned_fields,
        np.ascontiguousarray(x).T,
        np.empty_like(room)[offset:].reshape(shape[::-1]),
        1,
    )
