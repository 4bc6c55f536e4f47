from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.lrn import lrn


@pytest.mark.parametrize("channels", [1, 3, 64, 100, 2050])
@pytest.mark.parametrize("size", [1, 2, 5, 64])
@pytest.mark.parametrize("beta", [0.75, 0.5, 1.0, 0.61])
@pytest.mark.parametrize("threads", [1, 2])
def test_lrn_like_onnxruntime(
    run: Any, expected: Any, rng: np.random.Generator, channels: int, size: int, beta: float,
    threads: int,
) -> None:  # fmt: skip
    x = (10 * rng.standard_normal((1, channels, 3, 5))).astype(np.float32)
    if size % 2:
        result = expected("LRN", x, size=size, alpha=0.02, beta=beta, bias=1.5)
    else:
        result = formula(x, size, 0.02, beta, 1.5)
    wide = np.zeros((15, channels + 5), np.float32)
    wide[:, 2:-3] = x[0].reshape(channels, 15).T
    y = np.empty((15, channels), np.float32)
    code = run(
        lrn(), threads, x=wide[:, 2:-3], y=y, pixels=15, channels=channels, x_pixel=channels + 5,
        y_pixel=channels, size=size, scale=0.02 / size, beta=beta, bias=1.5,
        coefficients=0, x_zero=0, ratio=1.0, y_zero=0,
    )  # fmt: skip
    assert code == 0
    np.testing.assert_allclose(y.T.reshape(x.shape), result, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("magnitude", [0.0, 1e-25, 1e-12, 1.0, 1e12, 1e18, np.inf, np.nan])
@pytest.mark.parametrize("bias", [1.0, 1e-35])
def test_numbers_of_any_size(
    run: Any, rng: np.random.Generator, magnitude: float, bias: float
) -> None:
    x = (magnitude * rng.uniform(0.5, 2, (4, 24))).astype(np.float32)
    y = np.empty_like(x)
    run(
        lrn(), 1, x=x, y=y, pixels=4, channels=24, x_pixel=24, y_pixel=24, size=3, scale=1.0,
        beta=0.75, bias=bias, coefficients=0, x_zero=0, ratio=1.0, y_zero=0,
    )  # fmt: skip
    with np.errstate(all="ignore"):
        wanted = formula(x.astype(np.float64)[..., None], 3, 3.0, 0.75, bias)[..., 0]
    wanted[np.isinf(x)] = np.nan
    np.testing.assert_allclose(y, wanted, rtol=1e-5, atol=1e-30)


def formula(x: np.ndarray, size: int, alpha: float, beta: float, bias: float) -> np.ndarray:
    """Compute the definition of ONNX (onnxruntime refuses even sizes)."""
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        first, last = c - (size - 1) // 2, c + -((1 - size) // 2)
        total[:, c] = (x[:, max(0, first) : last + 1] ** 2).sum(1)
    return x / (bias + alpha / size * total) ** beta
