"""Rules of rewriting: a fusion is written as the computation it replaces.

    @rewrite(lambda x: x * op.Sigmoid(x))
    def swish(m: Match) -> ir.Value:
        m.require(m.opset >= 24, "Swish needs opset 24")
        return m.op.Swish(m.x)

What a pattern may say is in ``patterns``. A match lies in one graph and is rewritten as a whole or
not at all: nodes that an action creates join the graph after its last condition. Inner results that
other nodes read, too, are a near miss; so is every condition that does not hold, and ``explain``
says which.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from .edits import can_replace, detach, insert, keep_precision, make_constant, register, replace
from .operators import lookup
from .patterns import Apply, Bound, Either, match_node, term_of
from .patterns import either as either
from .patterns import find as find
from .patterns import fixed as fixed
from .patterns import op as op
from .patterns import optional as optional
from .report import Report
from .values import Size, constant, dims, graphs, rank


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

    def __init__(self, root: ir.Node, bound: Bound, opset: int) -> None:
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


def rewrite(*patterns: Callable[..., Any]) -> Callable[[Action], Rule]:
    """Declare a fusion by its patterns; see the module's text."""

    def declare(action: Action) -> Rule:
        terms: list[Apply] = []
        for pattern in patterns:
            term = term_of(pattern)
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
        for graph in graphs(model):
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
    for bound, nodes in match_node(pattern, node, {}, ()):
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
