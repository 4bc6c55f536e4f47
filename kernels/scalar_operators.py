"""Functions of the pointwise language on numbers of any type, by their names there."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from . import narrow
from .function_sources import define
from .halves import odd_f32, rounded_bf16, rounded_f16

SCALAR: dict[str, Callable[..., Any]] = {}


def _scalar(function: Callable[..., Any]) -> Callable[..., Any]:
    compiled = njit(error_model="numpy")(function)
    SCALAR[function.__name__.strip("_")] = compiled
    return compiled


@njit
def _from_float(x: Any, low: float, high: float) -> Any:
    """Float to integer, saturating; NaN becomes the smallest value, as cvttsd2si does."""
    if not x > low:
        return np.int64(low)
    if x >= high:
        return np.int64(high) if high < 9.2e18 else np.int64(9223372036854775807)
    return np.int64(x)


def _define_scalars() -> None:
    for name in ("exp", "log", "erf", "sqrt", "sin", "cos", "tan", "asin", "acos",
                 "atan", "sinh", "cosh", "asinh", "acosh", "atanh", "expm1", "log1p"):  # fmt: skip
        function = getattr(math, name)
        SCALAR[name] = njit(error_model="numpy")(_wrap(function))
    for name, op in _OPERATORS.items():
        scope: dict[str, Any] = {}
        define(f"def {name}(a, b): return a {op} b", scope)
        SCALAR[name] = njit(error_model="numpy")(scope[name])


def _wrap(function: Any) -> Callable[[Any], Any]:
    def call(a: Any) -> Any:
        return function(a)

    return call


_OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "equal": "==",
    "less": "<",
    "less_or_equal": "<=",
    "greater": ">",
    "greater_or_equal": ">=",
    "bitwise_and": "&",
    "bitwise_or": "|",
    "bitwise_xor": "^",
    "not_equal": "!=",
}
_define_scalars()


@_scalar
def _div(a: Any, b: Any) -> Any:
    return a / b


@njit
def _is_minus_one(b: Any) -> Any:
    # A literal 1 would turn uint64 into float64.
    return b < 0 and b + b // b == 0


@_scalar
def idiv(a: Any, b: Any) -> Any:
    """Integer division truncates toward zero; by zero it gives 0, see ``divisor``."""
    if b == 0:
        return a - a
    if _is_minus_one(b):
        # The smallest number, of which there is no negative, stays; processors would trap.
        return a * b
    q = a // b
    if q < 0 and q * b != a:
        q += b // b
    return q


@_scalar
def idiv_narrow(a: Any, b: Any) -> Any:
    """Divide like ``idiv`` integers of up to 32 bits, for which float64 gives the exact result."""
    return np.int64(np.float64(a) / np.float64(b)) if b != 0 else np.int64(0)


@_scalar
def divisor(a: Any) -> Any:
    """Mark what integers are divided by: kernels report zeros."""
    return a


@_scalar
def fmod(a: Any, b: Any) -> Any:
    """Remainder of floats, with the sign of the dividend."""
    return np.fmod(a, b)


@_scalar
def imod(a: Any, b: Any) -> Any:
    """Integer modulo with the sign of the divisor; by zero it gives 0."""
    if b == 0 or _is_minus_one(b):
        return a - a
    return a % b


@_scalar
def ifmod(a: Any, b: Any) -> Any:
    """Integer remainder with the sign of the dividend; by zero it gives 0."""
    if b == 0 or _is_minus_one(b):
        return a - a
    r = a % b
    if r != 0 and (r < 0) != (a < 0):
        r -= b
    return r


@_scalar
def pow(a: Any, b: Any) -> Any:
    return a**b


@_scalar
def ipow(a: Any, b: Any) -> Any:
    """Power of an integer of 32 or 64 bits that wraps; negative ones are cut off."""
    base, left = np.int64(a), np.uint64(b)
    if b < 0:
        if base != 1 and base != -1:
            return np.int64(0)
        left &= np.uint64(1)
    result = np.int64(1)
    while left != np.uint64(0):
        if left & np.uint64(1):
            result *= base
        base *= base
        left >>= np.uint64(1)
    return result


@_scalar
def _neg(a: Any) -> Any:
    return -a


@_scalar
def _abs(a: Any) -> Any:
    return abs(a)


@_scalar
def _floor(a: Any) -> Any:
    return np.floor(a)


@_scalar
def _ceil(a: Any) -> Any:
    return np.ceil(a)


@_scalar
def _round(a: Any) -> Any:
    return np.rint(a)


@_scalar
def _sign(a: Any) -> Any:
    return np.sign(a)


@_scalar
def _max(a: Any, b: Any) -> Any:
    return a if (a >= b or a != a) else b


@_scalar
def _min(a: Any, b: Any) -> Any:
    return a if (a <= b or a != a) else b


@_scalar
def _clip(a: Any, low: Any, high: Any) -> Any:
    if a < low:
        a = low
    if a > high:
        a = high
    return a


@_scalar
def saturate(a: Any, low: Any, high: Any) -> Any:
    """Limit a float to those of an integer type; NaN becomes 0."""
    if a < low:
        a = low
    if a > high:
        a = high
    return a if a == a else np.float32(0.0)


@_scalar
def _relu(a: Any) -> Any:
    return a if not a < 0 else 0


@_scalar
def _where(condition: Any, a: Any, b: Any) -> Any:
    return a if condition else b


@_scalar
def logical_not(a: Any) -> Any:
    return not a


@_scalar
def logical_and(a: Any, b: Any) -> Any:
    return (a != 0) & (b != 0)


@_scalar
def logical_or(a: Any, b: Any) -> Any:
    return (a != 0) | (b != 0)


@_scalar
def logical_xor(a: Any, b: Any) -> Any:
    return (a != 0) != (b != 0)


@_scalar
def bitwise_not(a: Any) -> Any:
    return ~a


@_scalar
def shift_left(a: Any, b: Any) -> Any:
    return a << b if 0 <= b < 64 else a - a


@_scalar
def shift_right(a: Any, b: Any) -> Any:
    """Arithmetic shift; by the width or more only the sign is left."""
    zero = a - a
    if 0 <= b < 64:
        return a >> b
    return ~zero if a < zero else zero


@_scalar
def is_nan(a: Any) -> Any:
    return a != a


@_scalar
def is_inf(a: Any, negative: Any, positive: Any) -> Any:
    return (positive != 0 and a == np.inf) or (negative != 0 and a == -np.inf)


@_scalar
def _tanh(a: Any) -> Any:
    """Hyperbolic tangent: Padé's approximant around 0, elsewhere by the exponential.

    The libraries' takes five times as long. The error is at most 4 units in the last place.
    """
    x = abs(a)
    if x < 0.5:
        s = x * x
        above = ((s + 378.0) * s + 17325.0) * s + 135135.0
        below = ((28.0 * s + 3150.0) * s + 62370.0) * s + 135135.0
        return a * (above / below)
    return math.copysign(1.0 - 2.0 / (math.exp(2.0 * x) + 1.0), a)


@_scalar
def _sigmoid(a: Any) -> Any:
    return 1 / (1 + math.exp(-a))


@_scalar
def fma(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@_scalar
def to_bool(a: Any) -> Any:
    return a != 0


def _to_f16(a: Any) -> Any:
    """Round to half precision, which is computed with as float32."""
    return rounded_f16(np.float32(a))


def _to_bf16(a: Any) -> Any:
    """Round to bfloat16, which is computed with as float32."""
    return rounded_bf16(np.float32(a))


def _odd_f32(a: Any) -> Any:
    """Cut to float32 so that rounding to fewer bits is that of the number itself."""
    return odd_f32(a)


def _float_to_u64(a: Any) -> Any:
    """Float to uint64, saturating above; negative numbers wrap, as those of int64 do."""
    half = 2.0**63
    if a >= 2.0 * half:
        return np.uint64(18446744073709551615)
    if a >= half:
        return np.uint64(np.int64(a - half)) + np.uint64(9223372036854775808)
    return np.uint64(_from_float(a, -half, half))


def _define_casts() -> None:
    for bits in (8, 16, 32, 64):
        for sign in "iu":
            kind = getattr(np, ("uint" if sign == "u" else "int") + str(bits))
            info = np.iinfo(kind)
            # Narrow integers wrap like a C cast from int64, as onnxruntime's do on x86.
            SCALAR[f"float_to_{sign}{bits}"] = _float_cast(kind, info)
            SCALAR[f"to_{sign}{bits}"] = njit(wrap_type(kind))
    SCALAR["float_to_u64"] = njit(_float_to_u64)
    for name in narrow.INTEGERS:
        SCALAR[f"float_to_{name}"] = _float_cast_of_few_bits(name)
    SCALAR["to_f32"] = njit(wrap_type(np.float32))
    SCALAR["to_f64"] = njit(wrap_type(np.float64))
    SCALAR["to_f16"], SCALAR["to_bf16"] = njit(_to_f16), njit(_to_bf16)
    SCALAR["odd_f32"] = njit(_odd_f32)


def wrap_type(kind: Any) -> Callable[[Any], Any]:
    def cast(a: Any) -> Any:
        return kind(a)

    return cast


def _float_cast(kind: Any, info: Any) -> Callable[[Any], Any]:
    low, high = (float(info.min), float(info.max)) if info.bits > 32 else (-(2.0**63), 2.0**63)

    def cast(a: Any) -> Any:
        return kind(_from_float(a, low, high))

    return njit(cast)


def _float_cast_of_few_bits(name: str) -> Any:
    low_bits = narrow.ROUNDING[f"to_{name}"]

    def cast(a: Any) -> Any:
        return low_bits(_from_float(a, -(2.0**63), 2.0**63))

    return njit(cast)


_define_casts()
SCALAR.update(narrow.ROUNDING)


def _to_bool_u8(a: Any) -> Any:
    return np.uint8(1) if a else np.uint8(0)


SCALAR["to_bool_u8"] = njit(_to_bool_u8)
