"""Arithmetic and activations of recurrent cells: vectors of float32, or numbers of float64.

An activation gives a fraction, a numerator and a denominator (1 where it has none), so that a
product of two, which a LSTM has twice, takes one division.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .. import simd, vmath
from ..scalar_operators import SCALAR
from ..target import LANES


class Arithmetic(NamedTuple):
    """What cells compute with.

    Attributes
    ----------
    kind
        Of numbers, as tiles name it.
    lanes
        Numbers of a vector of the products.
    together
        Numbers of it that a cell takes at a time: all, or one.
    store_first
        Stores so many numbers only.
    number
        A float64 in all lanes.
    sigmoid, tanh
        Fractions.
    exact_sigmoid, exact_tanh
        Functions with an error of at most 4 units in the last place.
    """

    kind: str
    itemsize: int
    lanes: int
    together: int
    load: Any
    store: Any
    store_first: Any
    number: Any
    fma: Any
    select: Any
    absolute: Any
    exp: Any
    log: Any
    sigmoid: Any
    tanh: Any
    exact_sigmoid: Any
    exact_tanh: Any


@njit
def _store_number(target: int, at: int, value: float, count: int) -> None:
    if count > 0:
        simd.store_f64(target, at, value)


def _whole(function: Any, number: Any) -> Any:
    """Make a fraction of a function of x, which has no denominator."""
    return njit(lambda x: (function(x), number(1.0)))


_F32 = np.float32
_VECTORS = Arithmetic(
    kind="f32", itemsize=4, lanes=LANES, together=LANES, load=simd.vload, store=simd.vstore,
    store_first=simd.vstore_first, number=njit(lambda value: simd.splat(_F32(value))),
    fma=simd.fma, select=simd.select, absolute=simd.vabs, exp=vmath.exp, log=vmath.log,
    sigmoid=vmath.sigmoid_fraction, tanh=vmath.tanh_fraction, exact_sigmoid=vmath.sigmoid,
    exact_tanh=vmath.tanh,
)  # fmt: skip
_NUMBERS = Arithmetic(
    kind="f64", itemsize=8, lanes=LANES // 2, together=1, load=simd.load_f64,
    store=simd.store_f64, store_first=_store_number, number=njit(lambda value: np.float64(value)),
    fma=njit(lambda a, b, c: a * b + c), select=njit(lambda which, a, b: a if which else b),
    absolute=njit(lambda x: abs(x)),
    exp=SCALAR["exp"], log=SCALAR["log"], sigmoid=_whole(SCALAR["sigmoid"], np.float64),
    tanh=_whole(SCALAR["tanh"], np.float64), exact_sigmoid=SCALAR["sigmoid"],
    exact_tanh=SCALAR["tanh"],
)  # fmt: skip
EXACT = {name: f"exact_{name}" for name in ("scaledtanh", "sigmoid", "tanh")}
"""Activations whose fractions are less exact than the functions, and the names of these."""
ARITHMETIC = {each.kind: each for each in (_VECTORS, _NUMBERS)}


@njit(error_model="numpy")
def quotient(fraction: Any) -> Any:
    """Value of a fraction."""
    return fraction[0] / fraction[1]


@njit(error_model="numpy")
def product(a: Any, b: Any) -> Any:
    """Value of the product of two fractions."""
    return a[0] * b[0] / (a[1] * b[1])


def activation(name: str, clips: bool, kind: str) -> Any:
    """Make an activation of x, alpha, beta and a threshold that x is clipped to, or is not."""
    number, select = ARITHMETIC[kind].number, ARITHMETIC[kind].select
    function = _fractions(ARITHMETIC[kind])[name]
    if not clips:
        return njit(lambda x, a, b, clip: function(x, number(a), number(b)))

    @njit
    def clipped(x: Any, a: float, b: float, clip: float) -> Any:
        most, least = number(clip), number(-clip)
        inside = select(x > most, most, select(x < least, least, x))
        return function(inside, number(a), number(b))

    return clipped


def _fractions(of: Arithmetic) -> dict[str, Any]:
    number, fma, select, absolute = of.number, of.fma, of.select, of.absolute
    exp, log, sigmoid, tanh = of.exp, of.log, of.sigmoid, of.tanh
    exact_sigmoid, exact_tanh = of.exact_sigmoid, of.exact_tanh

    def hard_sigmoid(x: Any, a: Any, b: Any) -> Any:
        y = fma(a, x, b)
        return select(y < number(0.0), number(0.0), select(y > number(1.0), number(1.0), y))

    def softplus(x: Any, a: Any, b: Any) -> Any:
        positive = select(x < number(0.0), number(0.0), x)
        return positive + log(number(1.0) + exp(-absolute(x)))

    def thresholded(x: Any, a: Any, b: Any) -> Any:
        return select(x > a, x, select(x != x, x, number(0.0)))

    def scaled_tanh(x: Any, a: Any, b: Any) -> Any:
        y = tanh(b * x)
        return a * y[0], y[1]

    fractions = {
        "scaledtanh": scaled_tanh,
        "sigmoid": lambda x, a, b: sigmoid(x),
        "tanh": lambda x, a, b: tanh(x),
    }
    whole = {
        "affine": lambda x, a, b: fma(a, x, b),
        "exact_scaledtanh": lambda x, a, b: a * exact_tanh(b * x),
        "exact_sigmoid": lambda x, a, b: exact_sigmoid(x),
        "exact_tanh": lambda x, a, b: exact_tanh(x),
        "elu": lambda x, a, b: select(x < number(0.0), a * (exp(x) - number(1.0)), x),
        "hardsigmoid": hard_sigmoid,
        "leakyrelu": lambda x, a, b: select(x < number(0.0), a * x, x),
        "relu": lambda x, a, b: select(x < number(0.0), number(0.0), x),
        "softplus": softplus,
        # As a fraction, both parts of which are unbounded, it would make a product overflow.
        "softsign": lambda x, a, b: x / (number(1.0) + absolute(x)),
        "thresholdedrelu": thresholded,
    }

    def over_one(function: Callable[[Any, Any, Any], Any]) -> Any:
        compiled = njit(error_model="numpy")(function)
        return njit(lambda x, a, b: (compiled(x, a, b), number(1.0)))

    return {
        **{name: njit(function) for name, function in fractions.items()},
        **{name: over_one(function) for name, function in whole.items()},
    }
