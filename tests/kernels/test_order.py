from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.order import arg_extreme, cumulative, top_k

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
