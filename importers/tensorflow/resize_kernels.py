"""Kernels of resized images: the weight of a pixel by its distance, as nodes of ONNX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from .builder import Builder


def _f(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def _polynomial(build: Builder, x: str, factors: Sequence[float]) -> str:
    """Evaluate a polynomial, given from the highest power on, by Horner's rule."""
    result = build("Mul", x, _f(factors[0]))
    for factor in factors[1:-1]:
        result = build("Mul", build("Add", result, _f(factor)), x)
    return build("Add", result, _f(factors[-1]))


def _two_pieces(build: Builder, x: str, near: Sequence[float], far: Sequence[float]) -> str:
    """Evaluate one polynomial up to 1, another up to 2, and 0 beyond."""
    pieces = [_polynomial(build, x, each) for each in (near, far)]
    result = build("Where", build("LessOrEqual", x, _f(1)), *pieces)
    return build("Where", build("Less", x, _f(2)), result, _f(0))


def keys(build: Builder, x: str, a: float = -0.5) -> str:
    """Evaluate the cubic kernel of Keys (1981)."""
    return _two_pieces(build, x, (a + 2, -(a + 3), 0, 1), (a, -5 * a, 8 * a, -4 * a))


def _mitchell(build: Builder, x: str) -> str:
    """Evaluate the cubic kernel of Mitchell and Netravali (1988), with B = C = 1/3."""
    return _two_pieces(build, x, (7 / 6, -2, 0, 8 / 9), (-7 / 18, 2, -10 / 3, 16 / 9))


def _triangle(build: Builder, x: str) -> str:
    return build("Max", build("Sub", _f(1), x), _f(0))


def _box(build: Builder, x: str) -> str:
    edge = build("Where", build("Equal", x, _f(0.5)), _f(0.5), _f(0))
    return build("Where", build("Less", x, _f(0.5)), _f(1), edge)


def _gaussian(build: Builder, x: str) -> str:
    radius = 1.5
    spread = radius / 3
    value = build("Exp", build("Mul", build("Mul", x, x), _f(-1 / (2 * spread**2))))
    return build("Where", build("Less", x, _f(radius)), value, _f(0))


def _lanczos(build: Builder, x: str, radius: float) -> str:
    zero = build("LessOrEqual", x, _f(1e-3))
    angle = build("Mul", build("Where", zero, _f(1), x), _f(np.pi))
    waves = build("Mul", build("Sin", angle), build("Sin", build("Div", angle, _f(radius))))
    value = build("Div", build("Mul", waves, _f(radius)), build("Mul", angle, angle))
    inner = build("Where", zero, _f(1), value)
    return build("Where", build("LessOrEqual", x, _f(radius)), inner, _f(0))


KERNELS: dict[str, Callable[[Builder, str], str]] = {
    "lanczos1": partial(_lanczos, radius=1),
    "lanczos3": partial(_lanczos, radius=3),
    "lanczos5": partial(_lanczos, radius=5),
    "gaussian": _gaussian,
    "box": _box,
    "triangle": _triangle,
    "keyscubic": keys,
    "mitchellcubic": _mitchell,
}
"""Kernels by TensorFlow's names."""
