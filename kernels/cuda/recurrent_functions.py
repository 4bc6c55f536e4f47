"""Activations of recurrent cells on numbers of a GPU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import numbers
from .functions import device_function

NUMBERS: dict[str, Any] = {"f32": np.float32, "f64": np.float64}


def activation(name: str, clips: bool, kind: str) -> Any:
    """Return an activation of x, alpha, beta and a threshold that x is clipped to, or is not."""
    function = device_function()(_functions(kind)[name.removeprefix("exact_")])
    number = NUMBERS[kind]

    @device_function()
    def call(x: Any, a: Any, b: Any, clip: Any) -> Any:
        if clips:
            x = min(max(x, number(-clip)), number(clip)) if x == x else x
        return number(function(x, number(a), number(b)))

    return call


def _functions(kind: str) -> dict[str, Callable[[Any, Any, Any], Any]]:
    number = NUMBERS[kind]
    exp, log, tanh = (numbers.SCOPE[f"math_{name}"] for name in ("exp", "log", "tanh"))
    zero, one = number(0), number(1)

    def affine(x: Any, a: Any, b: Any) -> Any:
        return a * x + b

    def elu(x: Any, a: Any, b: Any) -> Any:
        return a * (exp(x) - one) if x < zero else x

    def hard_sigmoid(x: Any, a: Any, b: Any) -> Any:
        y = a * x + b
        return zero if y < zero else (one if y > one else y)

    def hyperbolic(x: Any, a: Any, b: Any) -> Any:
        return tanh(x)

    def leaky_relu(x: Any, a: Any, b: Any) -> Any:
        return a * x if x < zero else x

    def relu(x: Any, a: Any, b: Any) -> Any:
        return zero if x < zero else x

    def scaled(x: Any, a: Any, b: Any) -> Any:
        return a * tanh(b * x)

    def sigmoid(x: Any, a: Any, b: Any) -> Any:
        return one / (one + exp(-x))

    def softplus(x: Any, a: Any, b: Any) -> Any:
        return (zero if x < zero else x) + log(one + exp(-abs(x)))

    def softsign(x: Any, a: Any, b: Any) -> Any:
        return x / (one + abs(x))

    def thresholded(x: Any, a: Any, b: Any) -> Any:
        return x if x > a or x != x else zero

    return {
        "affine": affine, "elu": elu, "hardsigmoid": hard_sigmoid, "leakyrelu": leaky_relu,
        "relu": relu, "scaledtanh": scaled, "sigmoid": sigmoid, "softplus": softplus,
        "softsign": softsign, "tanh": hyperbolic, "thresholdedrelu": thresholded,
    }  # fmt: skip
