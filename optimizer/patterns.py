"""Patterns of computations: terms of operators, and the ways in which values match them.

A pattern is a function of values, such as ``lambda x: x * op.Sigmoid(x)``. Names of its parameters
stand for any value, the same name for the same value; numbers for constants of one element; ``...``
as last argument for whatever inputs are left. Operands of Add, Mul and the like match in both
orders. ``either(a, b)`` matches one or the other, ``optional(x, "Identity", "Cast")`` lets one of
these operators stand in between, ``fixed(k)`` is a constant, and ``term.named("mean")`` names an
inner result for the conditions.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from .operators import lookup
from .values import constant, scalar

# How far a constant may be from the number of a pattern: what its type rounds to.
_TOLERANCES = {ir.DataType.FLOAT16: 1e-3, ir.DataType.BFLOAT16: 8e-3}
_TOLERANCE = 1e-6

Bound = dict[str, ir.Value]
"""Values by the names of a pattern."""


class Term:
    """A pattern of a value; arithmetic on terms makes larger ones."""

    def __add__(self, other: Any) -> Apply:
        return Apply("Add", (self, other))

    def __radd__(self, other: Any) -> Apply:
        return Apply("Add", (other, self))

    def __sub__(self, other: Any) -> Apply:
        return Apply("Sub", (self, other))

    def __rsub__(self, other: Any) -> Apply:
        return Apply("Sub", (other, self))

    def __mul__(self, other: Any) -> Apply:
        return Apply("Mul", (self, other))

    def __rmul__(self, other: Any) -> Apply:
        return Apply("Mul", (other, self))

    def __truediv__(self, other: Any) -> Apply:
        return Apply("Div", (self, other))

    def __rtruediv__(self, other: Any) -> Apply:
        return Apply("Div", (other, self))

    def __pow__(self, other: Any) -> Apply:
        return Apply("Pow", (self, other))

    def named(self, name: str) -> Named:
        """Name the value that this term matches."""
        return Named(self, name)


@dataclass(frozen=True)
class Any_(Term):
    """Any value; the same one wherever the name occurs."""

    name: str


@dataclass(frozen=True)
class Named(Term):
    """A term whose value has a name."""

    term: Term
    name: str


@dataclass(frozen=True)
class Fixed(Term):
    """A term whose value is constant; anything else is not even a near miss."""

    term: Term


@dataclass(frozen=True)
class Either(Term):
    """The first of several terms that matches."""

    terms: tuple[Any, ...]


@dataclass(frozen=True)
class Apply(Term):
    """The only output of an operator of the standard domain."""

    op_type: str
    inputs: tuple[Any, ...]


class _Operators:
    def __getattr__(self, op_type: str) -> Callable[..., Apply]:
        return lambda *inputs: Apply(op_type, inputs)


op: Any = _Operators()
"""``op.Conv(x, w, ...)``: the pattern of an operator."""


def either(*terms: Any) -> Either:
    """Match any one of several terms."""
    return Either(terms)


def fixed(term: Term) -> Fixed:
    """Match only what is constant."""
    return Fixed(term)


def optional(term: Any, *op_types: str) -> Either:
    """Match a term as it is, or behind any one of some operators."""
    return Either((term, *(Apply(op_type, (term, ...)) for op_type in op_types)))


Matches = Iterator[tuple[Bound, tuple[ir.Node, ...]]]


def _match(term: Any, value: ir.Value | None, bound: Bound, inner: tuple[ir.Node, ...]) -> Matches:
    """All ways to match a term, as bound names and the nodes taken in."""
    if value is None:
        return
    if isinstance(term, int | float):
        number = scalar(value)
        tolerance = _TOLERANCE if value.dtype is None else _TOLERANCES.get(value.dtype, _TOLERANCE)
        if number is not None and math.isclose(number, term, rel_tol=tolerance):
            yield bound, inner
    elif isinstance(term, Any_):
        if bound.setdefault(term.name, value) is value:
            yield bound, inner
    elif isinstance(term, Named):
        for names, nodes in _match(term.term, value, bound, inner):
            yield names | {term.name: value}, nodes
    elif isinstance(term, Fixed):
        if constant(value) is not None:
            yield from _match(term.term, value, bound, inner)
    elif isinstance(term, Either):
        for option in term.terms:
            yield from _match(option, value, dict(bound), inner)
    else:
        yield from match_node(term, value.producer(), bound, inner)


def match_node(
    term: Apply, node: ir.Node | None, bound: Bound, inner: tuple[ir.Node, ...]
) -> Matches:
    """All ways to match an operator with a node."""
    if node is None or node.op_type != term.op_type or node.domain or len(node.outputs) != 1:
        return
    if inner and node.graph is not inner[0].graph:
        return  # a loop's body would do again and again what is done once outside
    terms, operands = term.inputs, list(node.inputs)
    while operands and operands[-1] is None:
        operands.pop()
    if terms and terms[-1] is ...:
        terms = terms[:-1]
        operands = operands[: len(terms)]
    if len(operands) != len(terms):
        return
    yield from _match_all(terms, operands, dict(bound), (*inner, node))
    if lookup(node).commutative:
        yield from _match_all(terms, operands[::-1], dict(bound), (*inner, node))


def _match_all(
    terms: Sequence[Any],
    values: Sequence[ir.Value | None],
    bound: Bound,
    inner: tuple[ir.Node, ...],
) -> Matches:
    if not terms:
        yield bound, inner
        return
    for names, nodes in _match(terms[0], values[0], dict(bound), inner):
        yield from _match_all(terms[1:], values[1:], names, nodes)


def term_of(pattern: Callable[..., Any]) -> Any:
    """Return the term that a pattern stands for."""
    return pattern(*(Any_(name) for name in inspect.signature(pattern).parameters))


def find(pattern: Callable[..., Any], value: ir.Value | None) -> Iterator[Bound]:
    """All matches of a pattern that ends in a value: values by the pattern's names.

    Whether anything else reads the inner results is not looked at.
    """
    for bound, _ in _match(term_of(pattern), value, {}, ()):
        yield bound
