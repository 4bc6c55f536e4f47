"""Functions of the pointwise language on vectors of float32, by their names there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from . import halves, narrow, simd, vmath

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
    to_f16=halves.vround_f16,
    to_bf16=halves.vround_bf16,
    **narrow.VECTOR_ROUNDING,
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
def relu(a: Any) -> Any:
    return simd.vmax(a, _c(0.0))


@_vector
def clip(a: Any, low: Any, high: Any) -> Any:
    return simd.vmin(simd.vmax(a, low), high)


@_vector
def saturate(a: Any, low: Any, high: Any) -> Any:
    """Limit whole numbers to those of an integer type; NaN becomes 0."""
    return simd.select(a == a, simd.vmin(simd.vmax(a, low), high), _c(0.0))


@_vector
def to_f32(a: Any) -> Any:
    """Give float32, which all vectors are."""
    return a


@_vector
def if_less(a: Any, b: Any, yes: Any, no: Any) -> Any:
    return simd.select(a < b, yes, no)


@_vector
def if_greater(a: Any, b: Any, yes: Any, no: Any) -> Any:
    return simd.select(a > b, yes, no)


@_vector
def expm1(a: Any) -> Any:
    """exp(a) - 1, near 0 as accurate as that difference."""
    return vmath.exp(a) - _c(1.0)


@_vector
def log1p(a: Any) -> Any:
    """log(1 + a), near 0 as accurate as that sum."""
    return vmath.log(_c(1.0) + a)


@_vector
def sign(a: Any) -> Any:
    one = simd.select(a > _c(0.0), _c(1.0), _c(0.0))
    return simd.select(a < _c(0.0), _c(-1.0), simd.select(a != a, a, one))
