from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.fill import arange, fill, one_hot, trilu

DTYPES = [np.uint8, np.float16, np.float32, np.float64]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_fill(run: Any, dtype: Any, threads: int) -> None:
    y = np.zeros(1000, dtype)
    assert run(fill(y.itemsize), threads, y=y, value=np.array([7], dtype), count=990) == 0
    assert (y[:990] == 7).all() and (y[990:] == 0).all()


@pytest.mark.parametrize(
    ("dtype", "start", "delta"),
    [("f32", 0.1, 0.3), ("f64", -1.0, 0.25), ("i64", 5, -3), ("i32", -7, 2), ("i16", 1, 1)],
)
def test_range(run: Any, expected: Any, dtype: str, start: float, delta: float) -> None:
    made = {"f": "float", "i": "int"}[dtype[0]] + dtype[1:]
    y = np.zeros(40, made)
    words = {"start": np.array(start, made), "delta": np.array(delta, made)}
    run(arange(dtype), 2, y=y, **words, count=40)
    np.testing.assert_allclose(y, words["start"] + np.arange(40) * words["delta"], rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-9, -2, 0, 3, 40])
def test_trilu(
    run: Any, expected: Any, rng: np.random.Generator, dtype: Any, upper: int, k: int
) -> None:
    x = rng.integers(1, 99, (2, 7, 30)).astype(dtype)
    y = np.zeros_like(x)
    words = dict(planes=2, rows=7, columns=30, k=k, upper=upper)
    run(trilu(x.itemsize), 2, x=x, y=y, **words)
    np.testing.assert_array_equal(y, (np.triu if upper else np.tril)(x, k))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(
    ("dtype", "index"), [("int64", "i64"), ("int32", "i32"), ("float32", "f32")]
)
def test_one_hot(
    run: Any, expected: Any, rng: np.random.Generator, axis: int, dtype: str, index: str
) -> None:
    indices = rng.integers(-6, 7, (3, 4)).astype(dtype)
    values = np.array([2, 5], np.float32)
    y = np.zeros(np.insert([3, 4], axis, 5), np.float32)
    outer, inner = (int(np.prod(part)) for part in ((3, 4)[:axis], (3, 4)[axis:]))
    words = dict(outer=outer, depth=5, inner=inner)
    run(one_hot(4, index), 2, indices=indices, values=values, y=y, **words)
    places = np.where(indices < 0, indices + 5, indices)
    shape = [1, 1, 1]
    shape[axis] = 5
    hot = np.expand_dims(places, axis) == np.arange(5).reshape(shape)
    np.testing.assert_array_equal(y, np.where(hot, 5, 2))
