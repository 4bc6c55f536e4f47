"""Quotients by one number that are rounded to integers: products with its reciprocal.

A division of a vector takes as long as eight multiplications, and what quantizes divides every
number by the same scale. With ``r``, the reciprocal of ``b``, two multiply-adds make of
``q = a r`` the correctly rounded quotient, ``q + (a - q b) r`` (Markstein, Computation of
elementary functions on the IBM RISC System/6000 processor, 1990).
"""

from __future__ import annotations

import ast
from typing import Any

import numpy as np
from numba import njit

from . import simd

_LEAST, _LARGEST = np.float32(2.0**-100), np.float32(2.0**100)
"""Divisors by which no step of the computation underflows, where quotients do not round to 0."""


@njit
def is_ordinary(b: Any) -> Any:
    """Tell whether numbers are divided by ``b`` so."""
    return _LEAST <= abs(b) <= _LARGEST


@njit
def reciprocal(b: Any) -> Any:
    """Give 1 / b in all lanes."""
    return simd.splat(np.float32(1.0) / np.float32(b))


@njit
def ordinary_quotient(a: Any, b: Any, inverse: Any) -> Any:
    """Give vectors a / b as `quotient`, of an ordinary divisor."""
    near = a * inverse
    exact = simd.fma(simd.fma(-near, b, a), inverse, near)
    # Of infinities there is no remainder.
    return simd.select(exact == exact, exact, near)


@njit
def quotient(a: Any, b: Any, inverse: Any, ordinary: bool) -> Any:
    """Give vectors a / b, which round to the right integers."""
    return ordinary_quotient(a, b, inverse) if ordinary else a / b


@njit
def rounded_quotient(a: Any, b: Any, inverse: Any, ordinary: bool) -> Any:
    """Give vectors a / b as integers, half to even."""
    return simd.vrint(quotient(a, b, inverse, ordinary))


SCOPE = {
    "is_ordinary": is_ordinary, "reciprocal": reciprocal, "quotient": quotient,
    "ordinary_quotient": ordinary_quotient, "rounded_quotient": rounded_quotient,
}  # fmt: skip
"""Functions that `Quotients` and its `statements` call."""


_RESULTS = {
    "round": ("rounded_quotient", ("", "i", "o")),
    "unrounded": ("ordinary_quotient", ("", "i")),
}
"""What gives the quotients that a function is called with, and what of the divisor it takes.

What is unrounded is computed only where all divisors are ordinary: branches between vectors would
keep the steps of one from those of another.
"""


class Quotients(ast.NodeTransformer):
    """Takes reciprocals of operands for divisors.

    Parameters
    ----------
    repeated : dict of str to str
        Operands that are one number for a row, and their types.
    """

    def __init__(self, repeated: dict[str, str]) -> None:
        self.repeated = repeated
        self.divisors: set[str] = set()

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Replace a call that rounds a quotient by such an operand, or leaves it to others."""
        self.generic_visit(node)
        result = _RESULTS.get(_name(node))
        if result is None:
            return node
        inner = node.args[0]
        by = _divisor(inner)
        if by is None or by not in self.repeated:
            return inner if _name(node) == "unrounded" else node
        self.divisors.add(by)
        name, parts = result
        given = [ast.Name(f"{by}{part}", ast.Load()) for part in parts]
        return ast.Call(ast.Name(name, ast.Load()), [inner.args[0], *given], [])  # type: ignore[attr-defined]

    def statements(self) -> list[str]:
        """What computes the reciprocals at the beginning of a row."""
        loads = {name: f"load_{self.repeated[name]}({name}a, 0)" for name in sorted(self.divisors)}
        inverses = [f"{name}i = reciprocal({load})" for name, load in loads.items()]
        return inverses + [f"{name}o = is_ordinary({load})" for name, load in loads.items()]

    def condition(self) -> str:
        """That all divisors are ordinary."""
        return " and ".join(["True", *(f"{name}o" for name in sorted(self.divisors))])


def _divisor(node: ast.expr) -> str | None:
    """Name of what an expression divides by; None for others."""
    if not isinstance(node, ast.Call) or _name(node) != "div":
        return None
    by = node.args[1]
    if isinstance(by, ast.Call) and _name(by) == "to_f32":  # which all vectors are
        by = by.args[0]
    return by.id if isinstance(by, ast.Name) else None


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""
