from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from sardonyx.kernels import vmath
from sardonyx.kernels.pointwise import pointwise
from sardonyx.kernels.simd import vload, vstore
from sardonyx.kernels.target import LANES


def apply(expression: str, x: np.ndarray) -> np.ndarray:
    """Run a one-operand expression as a vector kernel."""
    y = np.empty_like(x)
    words = {f"d{i}": 1 for i in range(3)} | {"d3": x.size, "yp": y, "x0p": x}
    words |= {f"{name}s{i}": int(i == 3) for name in ("y", "x0") for i in range(4)}
    assert pointwise(expression, "f32v f32v")(**words) == 0
    return y


def samples() -> np.ndarray:
    """Every 1021st float32, NaN among them, and the specials."""
    bits = np.arange(0, 1 << 32, 1021, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45], np.float32)
    near = np.linspace(-12, 12, 1 << 20, dtype=np.float32)
    return np.concatenate([bits.view(np.float32), special, near])


def ulps(found: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of float32; denormals are as far apart as the least."""
    unit = np.spacing(np.maximum(np.abs(exact), np.finfo(np.float32).tiny).astype(np.float32))
    return np.abs(found.astype(np.float64) - exact) / unit


FUNCTIONS: dict[str, tuple[Callable[..., Any], float]] = {
    "exp": (np.exp, 2),
    "log": (np.log, 2),
    "tanh": (np.tanh, 4),
    "erf": (np.vectorize(math.erf), 6),
    "sigmoid": (lambda x: np.exp(-np.logaddexp(0, -x)), 4),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_in_ulp(name: str) -> None:
    exact_of, bound = FUNCTIONS[name]
    x = samples()
    with np.errstate(all="ignore"):
        exact = exact_of(x.astype(np.float64))
        rounded = exact.astype(np.float32)
    found = apply(f"{name}(x0)", x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(rounded))
    finite = np.isfinite(rounded)
    with np.errstate(invalid="ignore"):
        # A result next to the largest number may round to infinity.
        edge = ~finite | np.isinf(found)
        close = np.abs(exact) > 0.999999 * np.finfo(np.float32).max
    assert (close | (found == rounded) | np.isnan(rounded))[edge].all()
    if name == "sigmoid":
        # It gives 0 for what is too small for a normal number.
        edge |= (found == 0) & (exact < np.finfo(np.float32).tiny)
    worst = ulps(found[~edge], exact[~edge]).max()
    assert worst <= bound, f"{name}: {worst:.2f} ULP"


def test_powers_of_two_have_the_digits_of_bfloat16() -> None:
    @njit
    def powers(source: int, target: int, count: int) -> None:
        for i in range(0, count, LANES):
            vstore(target, i, vmath.power_of_two_below_one(vload(source, i)))

    special = np.array([0.0, -0.0, -126.6, -127.0, -1e30, -np.inf, np.nan, -np.nan], np.float32)
    x = np.concatenate([np.resize(special, 16), np.linspace(-126, 0, 1 << 16, dtype=np.float32)])
    found = np.empty_like(x)
    powers(x.ctypes.data, found.ctypes.data, x.size)
    np.testing.assert_array_equal(found[:2], 1.0)
    assert (abs(found[2:6]) < np.finfo(np.float32).tiny).all()
    assert np.isnan(found[6:8]).all()
    np.testing.assert_allclose(found[16:], np.exp2(x[16:].astype(np.float64)), rtol=2.0**-13)


@pytest.mark.parametrize("name", ["tanh", "sigmoid"])
def test_error_of_fractions(name: str) -> None:
    """Within their bounds, and never beyond 1."""
    fraction = {"tanh": vmath.tanh_fraction, "sigmoid": vmath.sigmoid_fraction}[name]

    @njit
    def quotients(source: int, target: int, count: int) -> None:
        for i in range(0, count, LANES):
            top, bottom = fraction(vload(source, i))
            vstore(target, i, top / bottom)

    x = samples()
    x = x[: x.size // LANES * LANES].copy()
    found = np.empty_like(x)
    quotients(x.ctypes.data, found.ctypes.data, x.size)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name][0](x.astype(np.float64))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))
    assert np.nanmax(np.abs(found)) <= 1
    finite = ~np.isnan(exact)
    if name == "tanh":
        assert ulps(found[finite], exact[finite]).max() <= 5
    else:
        np.testing.assert_allclose(found[finite], exact[finite], rtol=0, atol=1.5e-7)
        inside = x > -87
        np.testing.assert_allclose(found[inside], exact[inside], rtol=2e-6)
