from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.arg_extremes import arg_extreme
from sardonyx.kernels.cpu.order import cumulative, top_k

DTYPES = {"f32": np.float32, "i64": np.int64, "f64": np.float64, "i32": np.int32}


@pytest.mark.parametrize("dtype", [*DTYPES, "u8"])
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_arg_extreme(
    run: Any, rng: np.random.Generator, dtype: str, largest: int, last: int, axis: int
) -> None:
    x = rng.integers(0, 6, (4, 9, 7)).astype(DTYPES.get(dtype, np.uint8))
    view = x if axis == 1 else (x[None] if axis == 0 else x[..., None])
    outer, n, inner = (int(np.prod(part)) for part in (x.shape[:axis], x.shape[axis : axis + 1],
                                                       x.shape[axis + 1 :]))  # fmt: skip
    y = np.zeros(outer * inner, np.int64)
    run(
        arg_extreme(dtype, largest), 2, x=view, y=y, outer=outer, n=n, inner=inner,
        x_outer=n * inner, x_axis=inner, x_inner=1, last=last,
    )  # fmt: skip
    function = np.argmax if largest else np.argmin
    result = n - 1 - function(np.flip(x, axis), axis) if last else function(x, axis)
    np.testing.assert_array_equal(y, result.ravel())


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("n", [1, 5, 8, 16, 17, 100])
@pytest.mark.parametrize("are_columns", [False, True])
def test_arg_extreme_of_vectors(
    run: Any, rng: np.random.Generator, largest: int, last: int, n: int, are_columns: bool
) -> None:
    """Among equal elements the first or last counts; a NaN only where it is the first element."""
    x = rng.integers(0, 9, (37, n)).astype(np.float32)
    x[::5, -1], x[1::7, 0] = np.nan, np.nan
    x[3], x[4] = -np.inf, np.inf
    y = np.zeros(len(x), np.int64)
    count, words = len(x), dict(outer=len(x), inner=1, x_outer=n, x_axis=1)
    if are_columns:
        words = dict(outer=1, inner=count, x_outer=n * count, x_axis=count)
    view = np.ascontiguousarray(x.T) if are_columns else x
    run(arg_extreme("f32", largest), 2, x=view, y=y, n=n, x_inner=1, last=last, **words)
    numbers = np.where(np.isnan(x), -np.inf if largest else np.inf, x)
    best = numbers == (numbers.max(1) if largest else numbers.min(1))[:, None]
    best &= ~np.isnan(x) | (np.arange(n) == 0)
    places = n - 1 - np.argmax(best[:, ::-1], 1) if last else np.argmax(best, 1)
    np.testing.assert_array_equal(y, np.where(np.isnan(x[:, 0]), 0, places))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_cumulative_sum(
    run: Any, expected: Any, rng: np.random.Generator, dtype: str, exclusive: int, reverse: int,
    axis: int,
) -> None:  # fmt: skip
    x = rng.integers(-9, 9, (3, 5, 4)).astype(DTYPES[dtype])
    y = np.zeros_like(x)
    outer, inner = int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis + 1 :]))
    words = dict(outer=outer, n=x.shape[axis], inner=inner, exclusive=exclusive, reverse=reverse)
    run(cumulative(dtype, "sum"), 2, x=x, y=y, **words)
    more = {"exclusive": exclusive, "reverse": reverse}
    np.testing.assert_array_equal(y, expected("CumSum", x, np.array(axis), **more))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize("threads", [1, 3])
def test_top_k(
    run: Any, expected: Any, rng: np.random.Generator, dtype: str, largest: int, axis: int, k: int,
    threads: int,
) -> None:  # fmt: skip
    x = rng.integers(0, 9, (8, 9, 10)).astype(DTYPES[dtype])
    values, indices = expected("TopK", x, np.array([k]), outputs=2, axis=axis, largest=largest)
    y, places = np.zeros_like(values), np.zeros_like(indices)
    outer, inner = int(np.prod(x.shape[:axis])), int(np.prod(x.shape[axis + 1 :]))
    run(
        top_k(dtype, largest), threads, x=x, values=y, indices=places,
        scratch=np.zeros(threads * k, np.int64), outer=outer, n=x.shape[axis], inner=inner, k=k,
    )  # fmt: skip
    np.testing.assert_array_equal(y, values)
    np.testing.assert_array_equal(places, indices)
