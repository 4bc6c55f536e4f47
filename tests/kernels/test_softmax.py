from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.softmax import softmax

NAMES = ("Softmax", "LogSoftmax")


def fields(x: np.ndarray, y: np.ndarray, axis: int) -> dict[str, Any]:
    """See a tensor of rank 4 as o0 x o1 positions, the axis and an inner axis."""
    o0, o1, m = (a for a in range(4) if a != axis)
    xs, ys = ([s // 4 for s in t.strides] for t in (x, y))
    return dict(
        x=x, y=y, o0=x.shape[o0], o1=x.shape[o1], x0=xs[o0], x1=xs[o1], y0=ys[o0], y1=ys[o1],
        n=x.shape[axis], xs=xs[axis], ys=ys[axis], m=x.shape[m], xm=xs[m], ym=ys[m],
    )  # fmt: skip


@pytest.mark.parametrize("logarithm", [0, 1])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("axis", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 3, 5, 7), (3, 40, 4, 37), (1, 2, 100, 16), (1, 1, 1, 1000)])
def test_any_axis(
    run: Any, expected: Any, rng: np.random.Generator, logarithm: int, threads: int, axis: int,
    shape: tuple[int, ...],
) -> None:  # fmt: skip
    x = (5 * rng.standard_normal(shape)).astype(np.float32)
    y = np.empty_like(x)
    run(softmax(logarithm), threads, **fields(x, y, axis))
    result = expected(NAMES[logarithm], x, axis=axis)
    np.testing.assert_allclose(y, result, rtol=2e-5, atol=1e-6)


def test_channels_last_without_a_dense_axis(
    run: Any, expected: Any, rng: np.random.Generator
) -> None:
    x = rng.standard_normal((2, 6, 9, 70)).astype(np.float32)
    y = np.empty((2, 6, 9, 70), np.float32)
    xv, yv = x[..., ::2], y[..., ::2]
    run(softmax(0), 2, **fields(xv, yv, 2))
    np.testing.assert_allclose(yv, expected("Softmax", xv.copy(), axis=2), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("logarithm", [0, 1])
@pytest.mark.parametrize("axis", [1, 3])
def test_infinities_nan_and_far_values(run: Any, expected: Any, logarithm: int, axis: int) -> None:
    x = np.zeros((1, 7, 1, 37), np.float32)
    x[0, 0] = -np.inf
    x[0, 1, 0, 3] = np.nan
    x[0, 2, 0, 5] = np.inf
    x[0, 3, 0, 20:] = -np.inf
    x[0, 4] = np.linspace(-300, 300, 37)
    x[0, 5] = 3e38
    x[0, 6, 0, ::2] = -3e38
    x = x if axis == 3 else np.ascontiguousarray(x.transpose(0, 3, 2, 1))
    y = np.empty_like(x)
    run(softmax(logarithm), **fields(x, y, axis))
    with np.errstate(all="ignore"):
        result = expected(NAMES[logarithm], x, axis=axis)
    np.testing.assert_allclose(y, result, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("axis", [1, 3])
def test_zeros_for_what_is_infinite_throughout(run: Any, expected: Any, axis: int) -> None:
    x = np.random.default_rng(0).standard_normal((1, 5, 1, 37)).astype(np.float32)
    x[0, [1, 3]] = -np.inf
    x[0, 2, 0, 5:] = -np.inf
    x[0, 3, 0, 7] = np.nan
    x = x if axis == 3 else np.ascontiguousarray(x.transpose(0, 3, 2, 1))
    y = np.empty_like(x)
    run(softmax(0, 1), **fields(x, y, axis))
    with np.errstate(all="ignore"):
        result = expected("Softmax", x, axis=axis)
    none = (x == -np.inf).all(axis, keepdims=True)
    np.testing.assert_allclose(y, np.where(none, 0, result), rtol=2e-5, atol=1e-6)
    assert none.sum() == 1 and np.isnan(y).sum() == 37
