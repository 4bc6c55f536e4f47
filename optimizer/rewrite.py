"""Pattern language: a fusion is written as the computation it replaces.

    @rewrite(lambda x: x * op.Sigmoid(x))
    def swish(m: Match) -> ir.Value:
        m.require(m.opset >= 24, "Swish needs opset 24")
        return m.op.Swish(m.x)

Names of the lambda's parameters stand for any value, the same name for the same value; numbers
for constants of one element; ``...`` as last argument for whatever inputs are left. Operands of
Add, Mul and the like match in both orders. ``either(a, b)`` matches one or the other,
``optional(x, "Identity", "Cast")`` lets one of these operators stand in between, ``fixed(k)``
is a constant, and ``term.named("mean")`` names an inner result for the conditions.

A match lies in one graph and is rewritten as a whole or not at all: nodes that an action creates
join the graph after its last condition. Inner results that other nodes read, too, are a near miss;
so is every condition that does not hold, and ``explain`` says which.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from .edits import can_replace, detach, insert, keep_precision, make_constant, register, replace
from .operators import lookup
from .report import Report
from .values import Size, constant, dims, rank, scalar

# How far a constant may be from the number of a pattern: what its type rounds to.
_TOLERANCES = {ir.DataType.FLOAT16: 1e-3, ir.DataType.BFLOAT16: 8e-3}
_TOLERANCE = 1e-6

_Bound = dict[str, ir.Value]


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


_Matches = Iterator[tuple[_Bound, tuple[ir.Node, ...]]]


def _match(
    term: Any, value: ir.Value | None, bound: _Bound, inner: tuple[ir.Node, ...]
) -> _Matches:
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
        yield from _match_node(term, value.producer(), bound, inner)


def _match_node(
    term: Apply, node: ir.Node | None, bound: _Bound, inner: tuple[ir.Node, ...]
) -> _Matches:
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
    bound: _Bound,
    inner: tuple[ir.Node, ...],
) -> _Matches:
    if not terms:
        yield bound, inner
        return
    for names, nodes in _match(terms[0], values[0], dict(bound), inner):
        yield from _match_all(terms[1:], values[1:], names, nodes)


class NearMiss(Exception):
    """A condition of a fusion does not hold; its text says which."""


class Builder:
    """``builder.Gelu(x, approximate="tanh")`` makes a node in front of the one replaced.

    Nodes and constants stay outside the graph until `commit`.

    Parameters
    ----------
    root : ir.Node
        The node replaced.
    kind : ir.TypeProtocol, optional
        Type of all results; None where they are not of one type.
    """

    def __init__(self, root: ir.Node, kind: ir.TypeProtocol | None = None) -> None:
        self._root, self._type = root, kind
        self._constants: list[ir.Value] = []
        self.nodes: list[ir.Node] = []

    def __getattr__(self, op_type: str) -> Callable[..., ir.Value]:
        return lambda *inputs, **attributes: self.results(op_type, inputs, 1, **attributes)[0]

    def results(
        self, op_type: str, inputs: Sequence[Any], count: int, **attributes: Any
    ) -> Sequence[ir.Value]:
        """Make a node of more than one result."""
        values = [self._value(item) for item in inputs]
        name = f"{self._root.name}.{op_type}"
        node = ir.node(op_type, values, attributes, num_outputs=count, name=name)
        for output in node.outputs:
            output.type = self._type
        self.nodes.append(node)
        return node.outputs

    def _value(self, item: Any) -> ir.Value | None:
        if item is None or isinstance(item, ir.Value):
            return item
        value = make_constant(np.asarray(item), f"{self._root.name}.constant")
        self._constants.append(value)
        return value

    def commit(self) -> None:
        """Put the new nodes and constants into the graph."""
        graph = self._root.graph
        assert isinstance(graph, ir.Graph)
        for value in self._constants:
            register(graph, value)
        insert(self._root, self.nodes)

    def discard(self) -> None:
        """Drop the new nodes; the values they read are not used by them any more."""
        for node in self.nodes:
            detach(node)


class Match:
    """Values by the names of a pattern, ``m.x``; ``m.root`` is the node of its last operator."""

    def __init__(self, root: ir.Node, bound: _Bound, opset: int) -> None:
        self._bound = bound
        self.root = root
        self.opset = opset
        self.op: Any = Builder(root, root.outputs[0].type)

    def __getattr__(self, name: str) -> ir.Value:
        try:
            return self._bound[name]
        except KeyError:
            raise AttributeError(name) from None

    def __contains__(self, name: str) -> bool:
        return name in self._bound

    def require(self, condition: bool, reason: str) -> None:
        """Raise a near miss with its reason unless a condition holds."""
        if not condition:
            raise NearMiss(reason)

    def constant(self, name: str) -> np.ndarray:
        """Contents of a value; it is a near miss unless it is constant."""
        array = constant(self._bound[name])
        if array is None:
            raise NearMiss(f"{self._bound[name].name!r} is not constant")
        return array

    def sizes(self, value: ir.Value) -> list[Size]:
        """Sizes of a value; it is a near miss if not even the rank is known."""
        sizes = dims(value)
        if sizes is None:
            raise NearMiss(f"the rank of {value.name!r} is not known")
        return sizes


Action = Callable[[Match], ir.Value]


@dataclass(frozen=True)
class Rule:
    """A fusion: patterns, and the function that builds the replacement or raises `NearMiss`."""

    name: str
    patterns: tuple[Apply, ...]
    action: Action


def _term(pattern: Callable[..., Any]) -> Any:
    return pattern(*(Any_(name) for name in inspect.signature(pattern).parameters))


def find(pattern: Callable[..., Any], value: ir.Value | None) -> Iterator[_Bound]:
    """All matches of a pattern that ends in a value: values by the pattern's names.

    Whether anything else reads the inner results is not looked at.
    """
    for bound, _ in _match(_term(pattern), value, {}, ()):
        yield bound


def rewrite(*patterns: Callable[..., Any]) -> Callable[[Action], Rule]:
    """Declare a fusion by its patterns; see the module's text."""

    def declare(action: Action) -> Rule:
        terms: list[Apply] = []
        for pattern in patterns:
            term = _term(pattern)
            terms += term.terms if isinstance(term, Either) else [term]
        return Rule(action.__name__.strip("_"), tuple(terms), action)

    return declare


def apply_rules(rules: Sequence[Rule]) -> Callable[[ir.Model, Report], int]:
    """Make a pass of rules; the larger pattern comes first."""
    table: dict[str, list[tuple[Rule, Apply]]] = {}
    for rule in rules:
        for pattern in rule.patterns:
            table.setdefault(pattern.op_type, []).append((rule, pattern))

    def run(model: ir.Model, report: Report) -> int:
        count = 0
        opset = model.opset_imports.get("", 1)
        for graph in model.graphs():
            for node in reversed(list(graph)):
                if node.graph is not graph:
                    continue
                for rule, pattern in table.get(node.op_type, ()):
                    if _rewrite(rule, pattern, node, opset, report):
                        count += 1
                        break
        return count

    return run


def _rewrite(rule: Rule, pattern: Apply, node: ir.Node, opset: int, report: Report) -> bool:
    subject = f"{rule.name} in {node.name!r}"
    reasons: dict[str, None] = {}
    for bound, nodes in _match_node(pattern, node, {}, ()):
        match = Match(node, bound, opset)
        try:
            _check_inner(nodes)
            _check_numbers(nodes)
            value = rule.action(match)
            is_new = value.producer() in match.op.nodes
            replaceable = is_new or can_replace(node, value)
            match.require(
                replaceable, "its result is an output of the graph, which has to keep its producer"
            )
        except NearMiss as reason:
            match.op.discard()
            reasons[str(reason)] = None
            continue
        except BaseException:
            match.op.discard()
            raise
        match.op.commit()
        keep_precision(nodes, match.op.nodes)
        replace(node, value)
        report.explain(f"{rule.name} fused in {node.name!r} ({len(nodes)} nodes)", subject)
        return True
    if reasons:  # several where operands match in both orders
        report.explain(
            f"{rule.name} not fused in {node.name!r}: {'; '.join(reasons)}", subject, node
        )
    return False


def _check_inner(nodes: Sequence[ir.Node]) -> None:
    """Check that only nodes of the match read its inner results."""
    members = set(nodes)
    for node in nodes[1:]:
        for value in node.outputs:
            if value.is_graph_output() or any(use.node not in members for use in value.uses()):
                raise NearMiss(f"{value.name!r} is used elsewhere, too")


def _check_numbers(nodes: Sequence[ir.Node]) -> None:
    """Check that no number of a match has more axes than what it is combined with.

    A replacement that has the number as an attribute, or not at all, would lose these axes.
    """
    for node in nodes:
        if not lookup(node).broadcasts:
            continue
        for value in node.inputs:
            array = constant(value)
            if array is None or array.size != 1 or array.ndim == 0:
                continue
            others = [rank(other) for other in node.inputs if other is not value]
            if not any(axes is not None and axes >= array.ndim for axes in others):
                raise NearMiss(f"the constant of {node.name!r} may have more axes than the rest")
