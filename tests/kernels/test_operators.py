"""Functions of the pointwise language on numbers give what those on vectors give, and keep NaN."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.pointwise import pointwise
from sardonyx.kernels.scalar_operators import SCALAR
from sardonyx.kernels.vector_operators import VECTOR


def arity(name: str) -> int:
    """Count the parameters of a function of the language."""
    function = SCALAR[name].py_func  # type: ignore[attr-defined]
    return len(inspect.signature(function).parameters)


def apply(text: str, kind: str, arrays: list[np.ndarray], stride: int) -> np.ndarray:
    """Run a kernel over arrays, each element ``stride`` apart."""
    size = arrays[0].size // stride
    y = np.empty_like(arrays[0][:size])
    words: dict[str, Any] = {f"d{i}": 1 for i in range(3)} | {"d3": size, "yp": y}
    words |= {f"ys{i}": int(i == 3) for i in range(4)}
    for i, x in enumerate(arrays):
        words |= {f"x{i}p": x} | {f"x{i}s{axis}": stride * (axis == 3) for axis in range(4)}
    code = "v" if stride == 1 else "g"
    kinds = " ".join([f"{kind}v", *(f"{kind}{code}" for _ in arrays)])
    assert pointwise(text, kinds)(**words) == 0
    return y


@pytest.mark.parametrize("name", sorted(set(VECTOR) & set(SCALAR)))
def test_scalars_agree_with_vectors(name: str, rng: np.random.Generator) -> None:
    count = arity(name)
    text = f"{name}({','.join(f'x{i}' for i in range(count))})"
    values = 3 * rng.standard_normal((count, 201, 2))
    values[:, 5] = np.nan
    values[:, 6] = 0
    if name in ("log", "log1p", "sqrt", "pow"):
        values = np.abs(values)
    singles = [np.ascontiguousarray(v[:, 0], np.float32) for v in values]
    vectors = apply(text, "f32", singles, 1)
    pairs = [np.ascontiguousarray(v, np.float32).reshape(-1) for v in values]
    strided = apply(text, "f32", pairs, 2)
    doubles = apply(text, "f64", [s.astype(np.float64) for s in singles], 1)
    np.testing.assert_allclose(strided, vectors, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(doubles, vectors, rtol=2e-5, atol=1e-6)
