"""Bytes that are stored four vectors at a time: those of single vectors, whatever comes."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.packed_results import Packing
from sardonyx.kernels.pointwise import pointwise

F32 = np.float32
LIMITS = {"u8": (0, 255, np.uint8), "i8": (-128, 127, np.int8)}
SIZES = [1, 7, 31, 32, 33, 63, 64, 65, 200, 333]


def text(kind: str, has_zero: bool = True) -> str:
    low, high, _ = LIMITS[kind]
    rounded = "round(div(mul(x0,1.5),to_f32(x1)))"
    shifted = f"add({rounded},to_f32(x2))" if has_zero else rounded
    return f"saturate({shifted},{float(low)},{float(high)})"


def found(kind: str, x: np.ndarray, scale: float, zero: np.ndarray, of_zero: str) -> np.ndarray:
    kernel = pointwise(text(kind), f"{kind}v f32v f32s {of_zero}s")
    y = np.full(x.size + 8, 99, LIMITS[kind][2])
    sizes = {"d0": 1, "d1": 1, "d2": 1, "d3": x.size, "ys3": 1, "x0s3": 1}
    arrays = {"yp": y, "x0p": x, "x1p": np.array([scale], F32), "x2p": zero}
    assert kernel(**dict.fromkeys(kernel.fields, 0) | sizes | arrays) == 0
    assert (y[x.size :] == 99).all()
    return y[: x.size]


def expected(kind: str, x: np.ndarray, scale: float, zero: np.ndarray) -> np.ndarray:
    low, high, dtype = LIMITS[kind]
    with np.errstate(all="ignore"):
        numbers = np.rint(x * F32(1.5) / F32(scale)) + zero.astype(F32)
    return np.nan_to_num(np.clip(numbers, low, high), nan=0.0).astype(dtype)


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("size", SIZES)
def test_zero_points_and_halves(kind: str, size: int) -> None:
    rng = np.random.default_rng(size)
    low, high, dtype = LIMITS[kind]
    x = (rng.integers(-300, 300, size) / 6).astype(F32)  # many are halves of the scale
    for zero in (low, -1 if low else 1, high):
        for of_zero, array in ((kind, np.array([zero], dtype)), ("f32", np.array([zero], F32))):
            result = found(kind, x, 0.25, array, of_zero)
            np.testing.assert_array_equal(result, expected(kind, x, 0.25, array))


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("zero", [0.5, -1000.0, 300.0, np.nan])
def test_zero_points_that_are_no_bytes(kind: str, zero: float) -> None:
    """What a float stands for need not be one: then vectors are stored one by one."""
    x, array = np.linspace(-40, 40, 97, dtype=F32), np.array([zero], F32)
    result = found(kind, x, 0.3, array, "f32")
    np.testing.assert_array_equal(result, expected(kind, x, 0.3, array))


@pytest.mark.parametrize("kind", LIMITS)
@pytest.mark.parametrize("scale", [1e-38, 1e-3, 1.0, 0.0, 1e38])
def test_infinities_and_nan(kind: str, scale: float) -> None:
    numbers = [np.inf, -np.inf, np.nan, 0, -0.0, 3e38, -3e38, 1e-37, 1, -1, 2e9, -2e9, 7e4, -7e4]
    x, zero = np.tile(np.array(numbers, F32), 10), np.array([5], LIMITS[kind][2])
    result = found(kind, x, scale, zero, kind)
    np.testing.assert_array_equal(result, expected(kind, x, scale, zero))


@pytest.mark.parametrize(
    ("expression", "operands"),
    [
        (text("u8"), "u8v f32v f32s u8v"),  # a zero point for each number
        (text("u8"), "u8v f32v f32s i8s"),  # of another type
        (text("u8"), "i8v f32v f32s u8s"),  # limits of another type
        ("round(x0)", "u8v f32v"),
        (text("u8"), "f32v f32v f32s u8s"),
    ],
)
def test_other_ends_are_left(expression: str, operands: str) -> None:
    assert Packing.of(expression, operands) is None
