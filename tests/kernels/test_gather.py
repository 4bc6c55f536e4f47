from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.gather import gather, gather_elements, gather_nd
from sardonyx.kernels.cpu.scatter import scatter_elements, scatter_nd
from sardonyx.kernels.index_errors import error_text

DTYPES = [np.uint8, np.uint16, np.float32, np.int64]


def strides(x: np.ndarray) -> list[int]:
    return [s // x.itemsize for s in x.strides]


def numbers(name: str, values: Any, count: int, fill: int) -> dict[str, int]:
    """Name values from 0 on, filled up behind."""
    return {f"{name}{i}": int(v) for i, v in enumerate([*values, *[fill] * (count - len(values))])}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("index", [np.int32, np.int64])
@pytest.mark.parametrize(("axis", "inner"), [(0, 1), (1, 1), (1, 3), (0, 70), (1, 129), (1, 4000)])
@pytest.mark.parametrize("threads", [1, 2])
def test_gather(
    run: Any, rng: np.random.Generator, dtype: Any, index: Any, axis: int, inner: int, threads: int
) -> None:
    outer = 3 if axis else 1
    whole = rng.integers(0, 200, (outer, 9, inner + 5)).astype(dtype)
    x = whole[:, ::2, 2 : 2 + inner]
    indices = rng.integers(-5, 5, (7,)).astype(index)
    y = np.zeros((outer, 7, inner), dtype)
    xs = strides(x)
    code = run(
        gather(x.itemsize, f"i{indices.itemsize * 8}"), threads, x=x, indices=indices, y=y,
        outer=outer, size=5, inner=inner, count=7, x_outer=xs[0], x_axis=xs[1],
        y_outer=7 * inner, y_axis=inner,
    )  # fmt: skip
    assert code == 0
    np.testing.assert_array_equal(y, x.take(indices, 1))


@pytest.mark.parametrize("bad", [5, -6, 2**40])
def test_indices_out_of_range_are_told(run: Any, bad: int) -> None:
    x, y = np.zeros(5, np.float32), np.zeros(3, np.float32)
    code = run(
        gather(4, "i64"), x=x, indices=np.array([0, bad, 1]), y=y, outer=1, size=5, inner=1,
        count=3, x_outer=5, x_axis=1, y_outer=3, y_axis=1,
    )  # fmt: skip
    assert error_text(code) == f"index {bad} out of range"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_gather_elements(
    run: Any, expected: Any, aligned_fields: Any, rng: np.random.Generator, dtype: Any, axis: int,
    threads: int,
) -> None:  # fmt: skip
    x = rng.integers(0, 200, (4, 5, 6)).astype(dtype)
    shape = [3, 4, 5]
    shape[axis] = 9
    size = x.shape[axis]
    indices = rng.integers(-size, size, shape)
    y = np.zeros(shape, dtype)
    xs = strides(x)
    words = aligned_fields("d", shape, 8, 1)
    words |= aligned_fields("x", [0 if a == axis else s for a, s in enumerate(xs)], 8, 0)
    kernel = gather_elements(x.itemsize, "i64")
    words |= {"size": size, "x_axis": xs[axis]}
    assert run(kernel, threads, x=x, indices=indices, y=y, **words) == 0
    np.testing.assert_array_equal(y, expected("GatherElements", x, indices, axis=axis))
    indices.flat[7] = size
    code = run(kernel, threads, x=x, indices=indices, y=y, **words)
    assert error_text(code) == f"index {size} out of range"


@pytest.mark.parametrize("batch_dims", [0, 1])
@pytest.mark.parametrize("depth", [1, 2])
def test_gather_nd(
    run: Any, expected: Any, rng: np.random.Generator, batch_dims: int, depth: int
) -> None:
    x = rng.standard_normal((3, 4, 5, 6)).astype(np.float32)
    indices = rng.integers(-3, 3, (*x.shape[:batch_dims], 7, depth))
    result = expected("GatherND", x, indices, batch_dims=batch_dims)
    y = np.zeros_like(result)
    indexed = slice(batch_dims, batch_dims + depth)
    words = numbers("s", x.shape[indexed], 6, 1) | numbers("x", strides(x)[indexed], 6, 0)
    words |= dict(
        batch=3 if batch_dims else 1, count=7, depth=depth, x_batch=strides(x)[0],
        inner=int(np.prod(x.shape[batch_dims + depth :])),
    )  # fmt: skip
    assert run(gather_nd(4), 2, x=x, indices=indices, y=y, **words) == 0
    np.testing.assert_array_equal(y, result)
    indices.flat[3] = 99
    code = run(gather_nd(4), 2, x=x, indices=indices, y=y, **words)
    assert error_text(code) == "index 99 out of range"


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize(("dtype", "name"), [(np.float32, "f32"), (np.int64, "i64")])
@pytest.mark.parametrize("axis", [0, 2])
def test_scatter_elements(
    run: Any, expected: Any, aligned_fields: Any, rng: np.random.Generator, reduction: str,
    dtype: Any, name: str, axis: int,
) -> None:  # fmt: skip
    x = rng.integers(-9, 9, (4, 5, 6)).astype(dtype)
    shape = (3, 4, 5)
    size = x.shape[axis]
    indices = rng.integers(-size, size, shape)
    if reduction == "none":
        order = np.argsort(rng.random((size, *np.delete(shape, axis))), 0)[: shape[axis]]
        indices = np.ascontiguousarray(np.moveaxis(order, 0, axis))
    updates = rng.integers(-9, 9, shape).astype(dtype)
    result = expected("ScatterElements", x, indices, updates, axis=axis, reduction=reduction)
    y, ys = x.copy(), strides(x)
    words = aligned_fields("d", shape, 8, 1)
    words |= aligned_fields("y", [0 if a == axis else s for a, s in enumerate(ys)], 8, 0)
    words |= {"size": size, "y_axis": ys[axis]}
    kernel = scatter_elements(name, "i64", reduction)
    assert run(kernel, 2, indices=indices, updates=updates, y=y, **words) == 0
    np.testing.assert_array_equal(y, result)
    indices.flat[0] = -size - 1
    code = run(kernel, 2, indices=indices, updates=updates, y=y, **words)
    assert error_text(code) == f"index {-size - 1} out of range"


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_scatter_nd(
    run: Any, expected: Any, rng: np.random.Generator, reduction: str, depth: int
) -> None:
    x = rng.standard_normal((4, 5, 6)).astype(np.float32)
    flat = rng.choice(np.prod(x.shape[:depth]), 4, replace=reduction != "none")
    indices = np.stack(np.unravel_index(flat, x.shape[:depth]), -1).astype(np.int64)
    indices[0] -= x.shape[:depth]
    updates = rng.standard_normal((4, *x.shape[depth:])).astype(np.float32)
    result = expected("ScatterND", x, indices, updates, reduction=reduction)
    y = x.copy()
    words = numbers("s", x.shape[:depth], 6, 1) | numbers("y", strides(x)[:depth], 6, 0)
    words |= {"count": 4, "depth": depth, "inner": int(np.prod(x.shape[depth:]))}
    kernel = scatter_nd("f32", reduction)
    assert run(kernel, 2, indices=indices, updates=updates, y=y, **words) == 0
    np.testing.assert_allclose(y, result, rtol=1e-6)
    indices[2, 0] = 4
    code = run(kernel, 2, indices=indices, updates=updates, y=y, **words)
    assert error_text(code) == "index 4 out of range"
