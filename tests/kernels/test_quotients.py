"""Rounded quotients by one scale: those of a division, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.pointwise import pointwise

TEXT = "saturate(add(round(div(x0,x1)),to_f32(x2)),-128.0,127.0)"


def quantized(x: np.ndarray, scale: np.float32, zero: int) -> np.ndarray:
    kernel = pointwise(TEXT, "i8v f32v f32s i8s")
    y = np.full(x.size, 99, np.int8)
    sizes = {"d0": 1, "d1": 1, "d2": 1, "d3": x.size, "ys3": 1, "x0s3": 1}
    arrays = {"yp": y, "x0p": x, "x1p": np.array([scale]), "x2p": np.array([zero], np.int8)}
    assert kernel(**dict.fromkeys(kernel.fields, 0) | sizes | arrays) == 0
    return y


def expected(x: np.ndarray, scale: np.float32, zero: int) -> np.ndarray:
    with np.errstate(all="ignore"):
        numbers = np.rint(x / scale) + np.float32(zero)
    return np.nan_to_num(np.clip(numbers, -128, 127), nan=0.0).astype(np.int8)


@pytest.mark.parametrize("side", [-np.inf, 0, np.inf])
def test_numbers_near_halves(side: float) -> None:
    """Halves of a scale, and the floats beside them, round as quotients do."""
    rng = np.random.default_rng(3)
    for exponent in rng.uniform(-6, 3, 40):
        scale = np.float32(10.0**exponent)
        x = (rng.integers(-140, 140, 5000) + np.float32(0.5)).astype(np.float32) * scale
        x = x if side == 0 else np.nextafter(x, np.float32(side))
        np.testing.assert_array_equal(quantized(x, scale, -3), expected(x, scale, -3))


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 2.0**-100, 1.0, 0.0, 2.0**100, 1e38])
def test_extremes(scale: float) -> None:
    """Infinities, numbers that overflow and NaN become what they do by division."""
    x = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 3e38, -3e38, 1e-37, 1, -1], np.float32)
    x = np.concatenate([x, x * np.float32(0.3)])
    found = quantized(x, np.float32(scale), 5)
    np.testing.assert_array_equal(found, expected(x, np.float32(scale), 5))
