from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.log_sum_exp import log_sum_exp
from sardonyx.kernels.cpu.reduce import reduce

OPERATORS = {
    "sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax", "min": "ReduceMin",
    "prod": "ReduceProd", "sum_square": "ReduceSumSquare", "l1": "ReduceL1", "l2": "ReduceL2",
    "log_sum": "ReduceLogSum", "log_sum_exp": "ReduceLogSumExp",
}  # fmt: skip
INTEGERS = ("sum", "max", "min", "prod", "sum_square", "l1")
DTYPES = {"f32": np.float32, "f64": np.float64, "i32": np.int32, "i64": np.int64,
          "u8": np.uint8, "i8": np.int8}  # fmt: skip


def fields(numbered: Any, x: np.ndarray, y: np.ndarray, axes: Sequence[int]) -> dict[str, Any]:
    kept = [a for a in range(x.ndim) if a not in axes]
    xs, ys = ([s // x.itemsize for s in t.strides] for t in (x, y))
    result = {"x": x, "y": y}
    result |= numbered("k", [x.shape[a] for a in kept], 4, 1)
    result |= numbered("xk", [xs[a] for a in kept], 4, 0)
    result |= numbered("yk", [ys[a] for a in kept], 4, 0)
    result |= numbered("r", [x.shape[a] for a in axes], 4, 1)
    result |= numbered("xr", [xs[a] for a in axes], 4, 0)
    return result


def reduced(run: Any, numbered: Any, kind: str, dtype: str, x: np.ndarray, axes: Sequence[int],
            threads: int = 1) -> np.ndarray:  # fmt: skip
    y = np.empty([1 if a in axes else n for a, n in enumerate(x.shape)], x.dtype)
    words = fields(numbered, x, y, axes)
    kernel = log_sum_exp(dtype) if kind == "log_sum_exp" else reduce(kind, dtype)
    assert run(kernel, threads, **words) == 0
    return y


@pytest.mark.parametrize("kind", list(OPERATORS))
@pytest.mark.parametrize("axes", [(3,), (1, 2), (0, 1, 2, 3), (2,), (0, 3), (1,)])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 37, 13, 150), (3, 2, 70, 2)])
def test_float32(
    run: Any, expected: Any, aligned_fields: Any, rng: np.random.Generator, kind: str,
    axes: tuple[int, ...], shape: tuple[int, ...],
) -> None:  # fmt: skip
    x = rng.uniform(0.9, 1.1, shape).astype(np.float32) * rng.choice([1, -1], shape)
    if kind == "log_sum":
        x = abs(x)
    x = x.astype(np.float32)
    result = expected(OPERATORS[kind], x, np.array(axes), keepdims=1)
    for threads in (1, 2):
        y = reduced(run, aligned_fields, kind, "f32", x, axes, threads)
        np.testing.assert_allclose(y, result, rtol=2e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [("f64", kind) for kind in OPERATORS]
    + [(dtype, kind) for dtype in ("i32", "i64") for kind in INTEGERS]
    + [(dtype, kind) for dtype in ("u8", "i8") for kind in ("max", "min")],
)
@pytest.mark.parametrize("shape", [(3, 5, 4, 7), (3, 2, 70, 2)])
def test_other_types(
    run: Any, aligned_fields: Any, rng: np.random.Generator, kind: str, dtype: str,
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    x = rng.integers(1, 4, shape).astype(DTYPES[dtype])
    y = reduced(run, aligned_fields, kind, dtype, x, (1, 3), 2)
    functions: dict[str, Any] = {
        "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod,
        "sum_square": lambda v, **k: np.sum(v * v, **k), "l1": lambda v, **k: np.sum(abs(v), **k),
        "l2": lambda v, **k: np.sqrt(np.sum(v * v, **k)),
        "log_sum": lambda v, **k: np.log(np.sum(v, **k)),
        "log_sum_exp": lambda v, **k: np.log(np.sum(np.exp(v), **k)),
    }  # fmt: skip
    result = functions[kind](x, axis=(1, 3), keepdims=True).astype(x.dtype)
    np.testing.assert_allclose(y, result, rtol=1e-12)


@pytest.mark.parametrize("kind", ["sum", "prod", "max", "min", "l1", "l2", "mean", "log_sum"])
@pytest.mark.parametrize("axes", [(1,), (2,)])
def test_of_nothing(run: Any, aligned_fields: Any, kind: str, axes: tuple[int, ...]) -> None:
    x = np.empty((3, *[0 if a in axes else 5 for a in (1, 2)]), np.float32)
    y = reduced(run, aligned_fields, kind, "f32", x, axes)
    start = {"max": -np.inf, "min": np.inf, "prod": 1, "log_sum": -np.inf}
    np.testing.assert_array_equal(y, np.full_like(y, start.get(kind, 0)))


@pytest.mark.parametrize("axes", [(0,), (1,)])
@pytest.mark.parametrize("kind", ["max", "min", "sum", "log_sum_exp"])
def test_nan_and_infinity_spread(
    run: Any, aligned_fields: Any, rng: np.random.Generator, axes: tuple[int, ...], kind: str
) -> None:
    x = rng.standard_normal((70, 90)).astype(np.float32)
    x[3, 5] = x[69, 89] = np.nan
    x[10, 20], x[11, 21] = np.inf, -np.inf
    y = reduced(run, aligned_fields, kind, "f32", x, axes)
    with np.errstate(all="ignore"):
        functions: dict[str, Any] = {"max": np.max, "min": np.min, "sum": np.sum}
        if kind == "log_sum_exp":
            result = np.log(np.sum(np.exp(x), axis=axes, keepdims=True))
        else:
            result = functions[kind](x, axis=axes, keepdims=True)
    np.testing.assert_allclose(y, result, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min", "prod", "l1", "l2", "sum_square"])
@pytest.mark.parametrize("length", [2, 4, 8, 9, 15, 16, 17, 49, 91, 200])
def test_rows_are_reduced_many_at_a_time(
    run: Any, aligned_fields: Any, rng: np.random.Generator, kind: str, length: int
) -> None:
    """Rows lie densely or apart; a NaN is that of its row, and other lanes have none of it."""
    whole = rng.uniform(0.9, 1.1, (37, length + 3)).astype(np.float32)
    whole[5, 0], whole[20, length - 1], whole[36, 1] = np.nan, np.inf, np.nan
    whole[:, length:] = np.nan
    functions: dict[str, Any] = {
        "sum": np.sum, "mean": np.mean, "max": np.max, "min": np.min, "prod": np.prod,
        "sum_square": lambda v, **k: np.sum(v * v, **k), "l1": lambda v, **k: np.sum(abs(v), **k),
        "l2": lambda v, **k: np.sqrt(np.sum(v * v, **k)),
    }  # fmt: skip
    for x in (whole[:, :length], np.ascontiguousarray(whole[:, :length])):
        result = functions[kind](x.astype(np.float64), axis=1, keepdims=True)
        y = reduced(run, aligned_fields, kind, "f32", x, (1,), 2)
        np.testing.assert_allclose(y, result, rtol=2e-5)


@pytest.mark.parametrize("kind", ["sum", "max", "mean"])
@pytest.mark.parametrize("columns", [128, 192, 200, 768])
def test_results_are_the_same_wherever_an_array_lies(
    run: Any, aligned_fields: Any, rng: np.random.Generator, kind: str, columns: int
) -> None:
    """Columns are taken by whole lines; the order of a sum may not depend on where these begin."""
    values = rng.standard_normal((40, columns)).astype(np.float32)
    room = np.empty(values.size + 64, np.float32)
    start = -room.ctypes.data % 64 // 4
    results = []
    for offset in (0, 1, 4, 8, 15):
        at = start + offset
        x = room[at : at + values.size].reshape(values.shape)
        x[...] = values
        results.append(reduced(run, aligned_fields, kind, "f32", x, (0,)))
    expected = getattr(np, kind)(values.astype(np.float64), axis=0, keepdims=True)
    np.testing.assert_allclose(results[0], expected, rtol=1e-4, atol=1e-5)
    for other in results[1:]:
        np.testing.assert_array_equal(other, results[0])


@pytest.mark.parametrize("shape", [(1_000_000, 1), (100_000, 16)])
def test_long_sums_stay_accurate(
    run: Any, aligned_fields: Any, rng: np.random.Generator, shape: tuple[int, int]
) -> None:
    x = rng.uniform(0, 1, shape).astype(np.float32)
    y = reduced(run, aligned_fields, "sum", "f32", x, (0,))
    np.testing.assert_allclose(y[0], x.sum(0, dtype=np.float64), rtol=2e-6)
