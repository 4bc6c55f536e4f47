"""The table of operators: one record each, with or without a kernel."""

from __future__ import annotations

from sardonyx.runtime.ops import OPERATORS, has_kernel, registry
from sardonyx.runtime.ops.registry import Operator


def test_rules_may_stand_without_a_kernel():
    assert has_kernel("", "Relu")
    assert OPERATORS["", "SoftmaxCrossEntropyLoss"].rules
    assert not has_kernel("", "SoftmaxCrossEntropyLoss")
    assert not has_kernel("", "NoSuchOperator")
    assert not has_kernel("com.example", "Relu")


def test_an_operator_belongs_to_its_domain(monkeypatch):
    monkeypatch.setattr(registry, "OPERATORS", {})
    registry.register("First Second", Operator(), domain="com.example")
    assert list(registry.OPERATORS) == [("com.example", "First"), ("com.example", "Second")]


def test_each_kernel_is_reached_in_one_way():
    """By its own lowering, as a term or at the head of a group; Shape and Size are never run."""
    for (_, name), operator in OPERATORS.items():
        ways = [operator.lower, operator.term, operator.fused]
        expected = operator.infer is not None and name not in ("Shape", "Size")
        assert sum(way is not None for way in ways) == expected, name


def test_elementwise_results_lie_as_their_operands_do():
    layouts = {o.layout for o in OPERATORS.values() if o.term is not None}
    assert layouts == {"as_input"}
