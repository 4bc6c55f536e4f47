"""Functions of the pointwise language that take more than an expression, on numbers of a GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..registry import DIVISION_BY_ZERO
from .deferred import Deferred
from .functions import device_function
from .memory import IS_SIMULATED, store_i64

FUNCTIONS = (
    "exp", "log", "sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh",
    "acosh", "atanh", "expm1", "log1p", "erf", "tanh",
)  # fmt: skip
"""Functions of floats that Python's module ``math`` has."""
_NUMPY = {"asin": "arcsin", "acos": "arccos", "atan": "arctan"} | {
    f"a{name}h": f"arc{name}h" for name in ("sin", "cos", "tan")
}
ROUNDINGS = ("floor", "ceil", "rint")
"""Roundings down, up, and to the nearest, of ties to the even one."""
WIDTHS = [f"{sign}{bits}" for sign in "iu" for bits in (8, 16, 32, 64)]


def _number_type(kind: str) -> Any:
    if kind == "f32" or kind == "f64":
        return np.float32 if kind == "f32" else np.float64
    return getattr(np, ("uint" if kind[0] == "u" else "int") + kind[1:])


def _simulated_math(name: str) -> Callable[[Any], Any]:
    """Return a function that gives NaN and infinities, where Python's raises an error."""
    if name == "erf":
        return lambda value: type(value)(math.erf(value))
    function = getattr(np, _NUMPY.get(name, name))

    def call(value: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(value)

    return call


def _simulated_cast(kind: Any) -> Callable[[Any], Any]:
    """Return a cast that wraps."""

    def cast(value: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.array(value).astype(kind)[()]

    return cast


def _math(name: str) -> Any:
    return _simulated_math(name) if IS_SIMULATED else getattr(math, name)


def _rounding(name: str, kind: str) -> Any:
    """Return a function that rounds to whole numbers."""
    if IS_SIMULATED:
        return _simulated_math(name)

    def find() -> Any:
        from numba.cuda import libdevice

        return getattr(libdevice, f"{name}f" if kind == "f32" else name)

    return Deferred(find)


@device_function("int64")
def _saturated(value: Any) -> Any:
    """Float to int64, saturating; NaN becomes the smallest value, as on x86."""
    if not value > -9223372036854775808.0:
        return np.int64(-9223372036854775808)
    if value >= 9223372036854775808.0:
        return np.int64(9223372036854775807)
    return np.int64(value)


@device_function("uint64")
def _float_to_u64(value: Any) -> Any:
    """Float to uint64, saturating above; negative numbers wrap, as those of int64 do."""
    if value >= 18446744073709551616.0:
        return np.uint64(18446744073709551615)
    if value >= 9223372036854775808.0:
        return np.uint64(np.int64(value - 9223372036854775808.0)) + np.uint64(9223372036854775808)
    return np.uint64(_saturated(value))


@device_function()
def _idiv(a: Any, b: Any) -> Any:
    """Integer division toward zero; by zero it gives 0."""
    if b == 0:
        return a - a
    q = a // b
    if q < 0 and q * b != a:
        q += b // b
    return q


@device_function()
def _imod(a: Any, b: Any) -> Any:
    """Integer modulo with the sign of the divisor; by zero it gives 0."""
    if b == 0:
        return a - a
    return a % b


@device_function()
def _ifmod(a: Any, b: Any) -> Any:
    """Integer remainder with the sign of the dividend; by zero it gives 0."""
    if b == 0:
        return a - a
    r = a % b
    if r != 0 and (r < 0) != (a < 0):
        r -= b
    return r


@device_function()
def _ipow(a: Any, b: Any) -> Any:
    """Power of an integer of 32 or 64 bits that wraps; negative ones are cut off."""
    base, left = np.int64(a), np.uint64(b)
    if b < 0:
        if base != 1 and base != -1:
            return a - a
        left = left & np.uint64(1)
    result = np.int64(1)
    while left != np.uint64(0):
        if left & np.uint64(1):
            result = result * base
        base = base * base
        left = left >> np.uint64(1)
    return result


@device_function()
def _shift_left(a: Any, b: Any) -> Any:
    return a << b if b < 64 else a - a


@device_function()
def _shift_right(a: Any, b: Any) -> Any:
    return a >> b if b < 64 else a - a


@device_function("void")
def _note_zero(status: Any, divisor: Any) -> None:
    """Note in a step's status word a divisor that is zero."""
    if divisor == 0:
        store_i64(status, 0, DIVISION_BY_ZERO)


CALLS: dict[str, Any] = {
    "idiv": _idiv, "idiv_narrow": _idiv, "imod": _imod, "ipow": _ipow, "ifmod": _ifmod,
    "shift_left": _shift_left, "shift_right": _shift_right,
}  # fmt: skip
"""Functions of integers, whose result is of the type of the first argument."""

SCOPE: dict[str, Any] = {f"math_{name}": _math(name) for name in FUNCTIONS}
SCOPE |= {f"call_{name}": function for name, function in CALLS.items()}
SCOPE |= {"math_inf": np.inf, "math_fmod": np.fmod if IS_SIMULATED else math.fmod}
for _name in ROUNDINGS:
    SCOPE |= {f"math_{_name}_{kind}": _rounding(_name, kind) for kind in ("f32", "f64")}
SCOPE |= {"note_zero": _note_zero, "saturated": _saturated, "float_to_u64": _float_to_u64}
for _kind in ("f32", "f64", *WIDTHS):
    _type = _number_type(_kind)
    SCOPE[f"cast_{_kind}"] = _simulated_cast(_type) if IS_SIMULATED else _type
"""Names for the source of generated kernels."""
