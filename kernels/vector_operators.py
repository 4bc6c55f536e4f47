"""The elementwise operators on vectors of float32, by their name in ``pointwise``'s language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from . import simd, vmath

VECTOR: dict[str, Callable[..., Any]] = {}

_c = vmath.c


def _vector(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = njit(function)
    VECTOR[function.__name__.strip("_")] = compiled
    return compiled


VECTOR.update(
    exp=vmath.exp,
    log=vmath.log,
    tanh=vmath.tanh,
    erf=vmath.erf,
    sigmoid=vmath.sigmoid,
    abs=simd.vabs,
    sqrt=simd.vsqrt,
    floor=simd.vfloor,
    ceil=simd.vceil,
    round=simd.vrint,
    fma=simd.fma,
)


# ``vmax`` and ``vmin`` give the first operand where only the second is NaN; ONNX wants the NaN.


@_vector
def _max(a: Any, b: Any) -> Any:
    return simd.select(b != b, b, simd.vmax(a, b))


@_vector
def _min(a: Any, b: Any) -> Any:
    return simd.select(b != b, b, simd.vmin(a, b))


@_vector
def add(a: Any, b: Any) -> Any:
    return a + b


@_vector
def sub(a: Any, b: Any) -> Any:
    return a - b


@_vector
def mul(a: Any, b: Any) -> Any:
    return a * b


@_vector
def div(a: Any, b: Any) -> Any:
    return a / b


@_vector
def neg(a: Any) -> Any:
    return -a


@_vector
def identity(a: Any) -> Any:
    return a


@_vector
def reciprocal(a: Any) -> Any:
    return _c(1.0) / a


@_vector
def square(a: Any) -> Any:
    return a * a


@_vector
def cube(a: Any) -> Any:
    return a * a * a


@_vector
def max(a: Any, b: Any) -> Any:
    return simd.select(b != b, b, simd.vmax(a, b))  # vmax itself keeps a NaN of a only


@_vector
def min(a: Any, b: Any) -> Any:
    return simd.select(b != b, b, simd.vmin(a, b))


@_vector
def relu(a: Any) -> Any:
    return simd.vmax(a, _c(0.0))


@_vector
def clip(a: Any, low: Any, high: Any) -> Any:
    return simd.vmin(simd.vmax(a, low), high)


@_vector
def leaky_relu(a: Any, alpha: Any) -> Any:
    return simd.select(a < _c(0.0), a * alpha, a)


@_vector
def prelu(a: Any, slope: Any) -> Any:
    return simd.select(a < _c(0.0), a * slope, a)


@_vector
def thresholded_relu(a: Any, alpha: Any) -> Any:
    return simd.select(a > alpha, a, _c(0.0))


@_vector
def elu(a: Any, alpha: Any) -> Any:
    return simd.select(a < _c(0.0), alpha * (vmath.exp(a) - _c(1.0)), a)


@_vector
def selu(a: Any, alpha: Any, gamma: Any) -> Any:
    return gamma * simd.select(a > _c(0.0), a, alpha * (vmath.exp(a) - _c(1.0)))


@_vector
def celu(a: Any, alpha: Any) -> Any:
    return simd.select(a < _c(0.0), alpha * (vmath.exp(a / alpha) - _c(1.0)), a)


@_vector
def hard_sigmoid(a: Any, alpha: Any, beta: Any) -> Any:
    return simd.vmin(simd.vmax(simd.fma(a, alpha, beta), _c(0.0)), _c(1.0))


@_vector
def hard_swish(a: Any) -> Any:
    return a * simd.vmin(simd.vmax(simd.fma(a, _c(1.0 / 6.0), _c(0.5)), _c(0.0)), _c(1.0))


@_vector
def swish(a: Any, alpha: Any) -> Any:
    return a * vmath.sigmoid(a * alpha)


@_vector
def softplus(a: Any) -> Any:
    return simd.vmax(a, _c(0.0)) + vmath.log(_c(1.0) + vmath.exp(-simd.vabs(a)))


@_vector
def softsign(a: Any) -> Any:
    return a / (_c(1.0) + simd.vabs(a))


@_vector
def mish(a: Any) -> Any:
    return a * vmath.tanh(simd.vmax(a, _c(0.0)) + vmath.log(_c(1.0) + vmath.exp(-simd.vabs(a))))


@_vector
def gelu(a: Any) -> Any:
    return _c(0.5) * a * (_c(1.0) + vmath.erf(a * _c(0.7071067811865476)))


@_vector
def gelu_tanh(a: Any) -> Any:
    inner = _c(0.7978845608028654) * simd.fma(_c(0.044715) * a * a, a, a)
    return _c(0.5) * a * (_c(1.0) + vmath.tanh(inner))


@_vector
def sign(a: Any) -> Any:
    one = simd.select(a > _c(0.0), _c(1.0), _c(0.0))
    return simd.select(a < _c(0.0), _c(-1.0), simd.select(a != a, a, one))
