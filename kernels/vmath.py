"""Elementary functions on ``f32x`` vectors.

Maximum errors against float64, over all float32 (``tests/kernels/test_vmath.py`` measures them):
exp 2 ULP (results below 2^-126 included), log 2 ULP, tanh 4 ULP, erf 6 ULP, sigmoid 4 ULP.
Fractions are cheaper and need no division of their own; the quotient of that of tanh has an error
of 5 ULP, that of the logistic function one of 1.5e-7, and of 2e-6 of itself.
Infinities and NaN give what IEEE 754 functions give. The polynomial of exp is a weighted
least-squares fit (3.1e-9); those of log and tanh are of Moshier's Cephes library.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from .simd import (
    as_f32,
    as_i32,
    fma,
    select,
    splat,
    splat_i32,
    to_f32,
    to_i32,
    vabs,
    vmax,
    vmin,
    vrint,
)

F = np.float32
I32 = np.int32


@njit
def c(value: float) -> Any:
    """Return a vector with the same float32 in all lanes."""
    return splat(F(value))


@njit
def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """Value of a polynomial by Horner's rule; the coefficient of the highest power is first."""
    value = c(coefficients[0])
    for i in range(1, len(coefficients)):
        value = fma(value, x, c(coefficients[i]))
    return value


@njit
def _power_of_two(n: Any) -> Any:
    """2**n for integer-valued lanes of n in [-126, 127]."""
    return as_f32((to_i32(n) + splat_i32(I32(127))) << splat_i32(I32(23)))


# Added to a number, it leaves the nearest integer in the last bits of the sum.
_ROUND = 12582912.0


_EXP = (1.3814461e-3, 8.3687808e-3, 4.1668393e-2, 1.6666520e-1, 0.49999994)


@njit
def _exp_parts(x: Any) -> Any:
    """(p, n, bits): exp(x) = p * 2**n, p in [0.7, 1.42], n integer-valued, and in ``bits``, too."""
    shifted = fma(x, c(1.44269504088896341), c(_ROUND))
    n = shifted - c(_ROUND)
    r = fma(n, c(-0.693359375), x)
    r = fma(n, c(2.12194440e-4), r)
    return fma(_polynomial(_EXP, r), r * r, r) + c(1.0), n, as_i32(shifted)


@njit
def _scaled(p: Any, bits: Any) -> Any:
    """P * 2**n for n in [-126, 127]; NaN stays NaN."""
    return p * as_f32((bits << splat_i32(I32(23))) + splat_i32(I32(127 << 23)))


@njit
def exp(x: Any) -> Any:
    """Exponential; overflows to inf, underflows gradually to 0."""
    p, n, _ = _exp_parts(vmax(vmin(x, c(89.0)), c(-104.0)))
    # Two factors, so that neither leaves the normal range while the product may.
    half = vrint(n * c(0.5))
    return p * _power_of_two(half) * _power_of_two(n - half)


@njit
def exp_below_one(x: Any) -> Any:
    """Exponential of lanes <= 0, cheaper; results below 2**-125 are 0."""
    p, _, bits = _exp_parts(vmax(x, c(-87.0)))
    return select(x < c(-86.5), c(0.0), _scaled(p, bits))


_POWER_OF_TWO = (0.05500893, 0.24221097, 0.69328293, 1.0)


@njit
def power_of_two_below_one(x: Any) -> Any:
    """2 ** x of lanes <= 0 to 13 binary digits, for results of bfloat16; below 2 ** -126 it is 0.

    A cubic, of which 1 is 1: so -127, at which lanes are held, has a factor of zero.
    """
    x = vmax(x, c(-127.0))
    shifted = x + c(_ROUND + 127.0)
    f = x - (shifted - c(_ROUND + 127.0))
    return _polynomial(_POWER_OF_TWO, f) * as_f32(as_i32(shifted) << splat_i32(I32(23)))


_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip


@njit
def log(x: Any) -> Any:
    """Natural logarithm; -inf at 0, NaN below."""
    tiny = x < c(1.1754943508222875e-38)
    scaled = select(tiny, x * c(8388608.0), x)
    bits = as_i32(scaled)
    exponent = (bits >> splat_i32(I32(23))) - splat_i32(I32(126))
    mantissa = as_f32((bits & splat_i32(I32(0x007FFFFF))) | splat_i32(I32(0x3F000000)))
    e = to_f32(exponent) - select(tiny, c(23.0), c(0.0))
    low = mantissa < c(0.70710678118654752)
    e = e - select(low, c(1.0), c(0.0))
    m = mantissa + select(low, mantissa, c(0.0)) - c(1.0)
    z = m * m
    y = _polynomial(_LOG, m) * z * m
    y = fma(e, c(-2.12194440e-4), y)
    y = fma(z, c(-0.5), y)
    y = fma(e, c(0.693359375), m + y)
    y = select(x == c(np.inf), x, y)
    y = select(x == c(0.0), c(-np.inf), y)
    return select(x < c(0.0), c(np.nan), select(x != x, x, y))


@njit
def sigmoid(x: Any) -> Any:
    """Logistic function 1 / (1 + exp(-x)); results below 2**-126 are 0."""
    p, _, bits = _exp_parts(vmax(vmin(-x, c(88.0)), c(-87.0)))
    y = c(1.0) / (c(1.0) + _scaled(p, bits))
    return select(x < c(-87.33654), c(0.0), y)


_TANH = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)


@njit
def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    a = vabs(x)
    z = x * x
    small = x * fma(_polynomial(_TANH, z), z, c(1.0))  # which keeps the sign of zeros
    power, _, bits = _exp_parts(vmin(a + a, c(88.0)))
    large = c(1.0) - c(2.0) / (_scaled(power, bits) + c(1.0))
    return select(a < c(0.625), small, select(x < c(0.0), -large, large))


_POWER = (1.32647272e-3, 9.67151264e-3, 5.55073374e-2, 0.240222421, 0.693146978, 1.0)


@njit
def sigmoid_fraction(x: Any) -> Any:
    """(1, 1 + exp(-x)), whose quotient is the logistic function; of x within -87 and 87.

    A minimax fit of 2 ** f (1.1e-7), which changes the quotient by 2.7e-8 at most.
    """
    x = vmax(vmin(x, c(87.0)), c(-87.0))
    shifted = fma(x, c(-1.44269504088896341), c(_ROUND))
    f = fma(x, c(-1.44269504088896341), c(_ROUND) - shifted)
    power = (as_i32(shifted) << splat_i32(I32(23))) + splat_i32(I32(127 << 23))
    return c(1.0), fma(_polynomial(_POWER, f), as_f32(power), c(1.0))


_TANH_END = 7.9
_TANH_TOP = (0.01794207729, 25.61202314, 4162.195907, 156424.1309, 1162950.751)
_TANH_BOTTOM = (1.0, 398.154426, 30460.29974, 544074.3214, 1162950.757)


@njit
def tanh_fraction(x: Any) -> Any:
    """(x P(x^2), Q(x^2)), whose quotient is tanh: a minimax fit on [0, 7.9] (5.7e-9).

    Beyond it is 1 - 2.4e-7, so that no rounding takes the quotient beyond 1.
    """
    x = vmax(vmin(x, c(_TANH_END)), c(-_TANH_END))
    z = x * x
    return x * _polynomial(_TANH_TOP, z), _polynomial(_TANH_BOTTOM, z)


_ERF_END = 4.0
_ERF_TOP = (
    1.9866861948e-6,
    2.8454165593e-4,
    3.8828620765e-3,
    5.3100234909e-2,
    0.19353579657,
    1.1283791395,
)
_ERF_BOTTOM = (3.7417887933e-5, 1.1854286444e-3, 1.5206303896e-2, 0.11534591138, 0.50484919306, 1.0)


@njit
def erf(x: Any) -> Any:
    """Error function: x P(x^2) / Q(x^2), a weighted least-squares fit on [0, 4] (2.5e-8)."""
    x = vmax(vmin(x, c(_ERF_END)), c(-_ERF_END))
    z = x * x
    y = x * _polynomial(_ERF_TOP, z) / _polynomial(_ERF_BOTTOM, z)
    return vmax(vmin(y, c(1.0)), c(-1.0))
