"""Functions of the caller's that are expressions, as terms of the pointwise language.

A function of elements is called with terms in the place of numbers, and modules of mathematical
functions in that of ``math`` and numpy. If nothing in it needs the value of a number (a branch, a
comparison, any other function), what it returns is an expression: explicit SIMD, where numba would
call a function of the C library for each element.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from .terms import Term, call

_FUNCTIONS = {
    **{name: name for name in ("exp", "log", "sqrt", "tanh", "erf")},
    "fabs": "abs", "abs": "abs", "absolute": "abs",
}  # fmt: skip
"""Those that `math` or numpy have and vectors, too, with the same results on all numbers."""


class _Number:
    """A number that is a term: arithmetic gives terms, whatever asks for its value fails."""

    def __init__(self, term: Term) -> None:
        self.term = term

    def __add__(self, other: Any) -> _Number:
        return _apply("add", self, other)

    def __radd__(self, other: Any) -> _Number:
        return _apply("add", other, self)

    def __sub__(self, other: Any) -> _Number:
        return _apply("sub", self, other)

    def __rsub__(self, other: Any) -> _Number:
        return _apply("sub", other, self)

    def __mul__(self, other: Any) -> _Number:
        return _apply("mul", self, other)

    def __rmul__(self, other: Any) -> _Number:
        return _apply("mul", other, self)

    def __truediv__(self, other: Any) -> _Number:
        return _apply("div", self, other)

    def __rtruediv__(self, other: Any) -> _Number:
        return _apply("div", other, self)

    def __neg__(self) -> _Number:
        return _apply("neg", self)

    def __abs__(self) -> _Number:
        return _apply("abs", self)

    def __pow__(self, exponent: Any) -> _Number:
        if exponent not in (2, 3):
            raise TypeError("a power that is not written as products")
        return self * self if exponent == 2 else self * self * self

    def _refuse(self, *_: Any) -> NoReturn:
        raise TypeError("the value of a number is asked for")

    __bool__ = __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __float__ = __int__ = __index__ = __hash__ = __iter__ = __getattr__ = _refuse
    __array__ = _refuse


def _apply(name: str, *operands: Any) -> _Number:
    return _Number(call(name, *map(_operand, operands)))


def _operand(value: Any) -> Term | float:
    if isinstance(value, _Number):
        return value.term
    number = float(np.float32(value))
    if not math.isfinite(number):
        raise TypeError("a number that is no literal")
    return number


class _Functions:
    """What stands for a module of mathematical functions."""

    pi, e = math.pi, math.e

    def __getattr__(self, name: str) -> Callable[[Any], Any]:
        if name not in _FUNCTIONS:
            raise AttributeError(name)

        def function(x: Any) -> Any:
            if isinstance(x, _Number):
                return _apply(_FUNCTIONS[name], x)
            return float(getattr(np, name)(x)) if hasattr(np, name) else getattr(math, name)(x)

        return function


def traced(
    function: Callable[..., Any], operands: Sequence[Term | None], attributes: dict[str, Any]
) -> Term | None:
    """Return the expression that a function computes of float32, None if it is none.

    Parameters
    ----------
    function : callable
    operands : sequence of Term
        None for inputs that are missing.
    attributes : dict
    """
    if not isinstance(function, types.FunctionType):
        return None
    modules = {id(math), id(np)}
    scope = {
        name: _Functions() if id(value) in modules else value
        for name, value in function.__globals__.items()
    }
    copy = types.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    numbers = [None if each is None else _Number(each) for each in operands]
    try:
        result = copy(*numbers, **attributes)
    except Exception:  # it needs more than terms are
        return None
    return result.term if isinstance(result, _Number) else None
