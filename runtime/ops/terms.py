"""Terms of the pointwise language (``kernels.pointwise``), written with Python's operators.

``0.5 * x * (1 + erf(x))`` is the text ``mul(mul(0.5,x0),add(1,erf(x0)))``. Whole numbers fit any
element type; a literal with a fraction has the precision of float32 if it is one, that of float64
otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..symbolic import Dim


@dataclass(frozen=True)
class Term:
    """A part of an expression."""

    text: str

    def __add__(self, other: Operand) -> Term:
        return call("add", self, other)

    def __radd__(self, other: Operand) -> Term:
        return call("add", other, self)

    def __sub__(self, other: Operand) -> Term:
        return call("sub", self, other)

    def __mul__(self, other: Operand) -> Term:
        return call("mul", self, other)

    def __rmul__(self, other: Operand) -> Term:
        return call("mul", other, self)

    def __truediv__(self, other: Operand) -> Term:
        return call("div", self, other)

    def __rtruediv__(self, other: Operand) -> Term:
        return call("div", other, self)

    def __neg__(self) -> Term:
        return call("neg", self)

    def __abs__(self) -> Term:
        return call("abs", self)


@dataclass(frozen=True)
class Placed:
    """A value that is an operand otherwise than it lies.

    Attributes
    ----------
    value
    axis, rank
        The axis, among those of a result of so many, that its only one is; None where it
        broadcasts as numpy has it.
    dtype
        Element type that it is given when it is constant.
    block, size
        How often each element is repeated along the axis, if it has all axes, and how many there
        are then; 0 where it has one axis.
    """

    value: ir.Value
    axis: int | None = None
    rank: int = 0
    dtype: str = ""
    block: int = 0
    size: Dim = 0


Source = ir.Value | Placed | float
"""What an operand is."""

Operand = Term | float


def call(name: str, *operands: Operand) -> Term:
    """Call a function of the language."""
    texts = (item.text if isinstance(item, Term) else repr(item) for item in operands)
    return Term(f"{name}({','.join(texts)})")


def function(name: str) -> Callable[..., Term]:
    """Return a function of the language as one of Python."""
    return lambda *operands: call(name, *operands)


def float32(value: float) -> float:
    """Return an attribute's value as it is in the model."""
    return float(np.float32(value))


clip = function("clip")
erf = function("erf")
exp = function("exp")
expm1 = function("expm1")
fma = function("fma")
if_greater = function("if_greater")
if_less = function("if_less")
log1p = function("log1p")
relu = function("relu")
sigmoid = function("sigmoid")
tanh = function("tanh")
