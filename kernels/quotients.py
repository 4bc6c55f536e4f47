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
def quotient(a: Any, b: Any, inverse: Any, ordinary: bool) -> Any:
    """Give vectors a / b, which round to the right integers."""
    if not ordinary:
        return a / b
    near = a * inverse
    exact = simd.fma(simd.fma(-near, b, a), inverse, near)
    # Of infinities there is no remainder.
    return simd.select(exact == exact, exact, near)


@njit
def rounded_quotient(a: Any, b: Any, inverse: Any, ordinary: bool) -> Any:
    """Give vectors a / b as integers, half to even."""
    return simd.vrint(quotient(a, b, inverse, ordinary))


SCOPE = {
    "is_ordinary": is_ordinary, "reciprocal": reciprocal, "rounded_quotient": rounded_quotient,
}  # fmt: skip
"""Functions that `Quotients` and its `statements` call."""


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
        """Replace a call that rounds a quotient by such an operand."""
        self.generic_visit(node)
        inner = node.args[0] if _name(node) == "round" else None
        if not isinstance(inner, ast.Call) or _name(inner) != "div":
            return node
        by = inner.args[1]
        if not isinstance(by, ast.Name) or by.id not in self.repeated:
            return node
        self.divisors.add(by.id)
        parts = [ast.Name(f"{by.id}{part}", ast.Load()) for part in ("i", "o")]
        return ast.Call(ast.Name("rounded_quotient", ast.Load()), [*inner.args, *parts], [])

    def statements(self) -> list[str]:
        """What computes the reciprocals at the beginning of a row."""
        loads = {name: f"load_{self.repeated[name]}({name}a, 0)" for name in sorted(self.divisors)}
        inverses = [f"{name}i = reciprocal({load})" for name, load in loads.items()]
        return inverses + [f"{name}o = is_ordinary({load})" for name, load in loads.items()]


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""
