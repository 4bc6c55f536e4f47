import numpy as np
import onnx_ir as ir
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass
from sardonyx.optimizer.report import Report
from sardonyx.optimizer.rewrite import NearMiss, apply_rules, either, op, optional, rewrite

X = {"x": ("n", 4)}


@rewrite(lambda x, k: either(op.Exp(x), op.Log(x)) * k + x)
def marked(m):
    m.require(m.constant("k").size == 1, "k is not one number")
    return m.op.Tanh(m.op.Neg(m.x))


def rewritten(model):
    report = Report()
    count = apply_rules([marked])(model, report)
    RemoveUnusedNodesPass()(model)
    operators = [node.op_type for node in model.graph]
    return count, operators, report.explanations


@pytest.mark.parametrize("function", ["Exp", "Log"])
@pytest.mark.parametrize("product", ["k e", "e k"])
@pytest.mark.parametrize("total", ["p x", "x p"])
def test_operands_match_in_both_orders(graph, function, product, total):
    model = graph(
        [(function, "x", "e"), ("Mul", product, "p"), ("Add", total, "y")], X, k=np.float32([2])
    )
    count, operators, texts = rewritten(model)
    assert (count, operators) == (1, ["Neg", "Tanh"])
    assert texts == ["marked fused in 'n2' (3 nodes)"]
    assert [value.name for value in model.graph.outputs] == ["y"]


def test_a_name_stands_for_one_value(graph):
    nodes = [("Exp", "x", "e"), ("Mul", "e k", "p"), ("Add", "p z", "y")]
    assert rewritten(graph(nodes, {**X, "z": ("n", 4)}, k=np.float32([2])))[0] == 0


def test_a_condition_says_why_not(graph):
    model = graph(
        [("Exp", "x", "e"), ("Mul", "e k", "p"), ("Add", "p x", "y")], X, k=np.ones(4, np.float32)
    )
    count, _, texts = rewritten(model)
    assert count == 0 and "marked not fused in 'n2': k is not one number" in texts


def test_inner_results_used_elsewhere_stay(graph):
    nodes = [("Exp", "x", "e"), ("Mul", "e k", "p"), ("Add", "p x", "a"), ("Sub", "a e", "y")]
    count, operators, texts = rewritten(graph(nodes, X, k=np.float32([2])))
    assert count == 0 and len(operators) == 4
    assert any("'e' is used elsewhere" in text for text in texts)


def test_operators_in_between_are_optional(graph):
    @rewrite(lambda x: op.Exp(optional(op.Neg(x), "Identity", "Relu")))
    def decay(m):
        return m.op.Reciprocal(m.op.Exp(m.x))

    for between in ([], [("Identity", "n", "i")], [("Relu", "n", "i")], [("Abs", "n", "i")]):
        nodes = [("Neg", "x", "n"), *between, ("Exp", "i" if between else "n", "y")]
        count = apply_rules([decay])(graph(nodes, X), Report())
        assert count == (between[:1] != [("Abs", "n", "i")])


def snapshot(model):
    users = {
        (str(value.name), use.node.name)
        for node in model.graph
        for value in node.inputs
        for use in value.uses()
    }
    return ir.to_proto(model).SerializeToString(deterministic=True), users


@pytest.mark.parametrize("error", [NearMiss("too late"), RuntimeError("a bug")])
def test_what_an_action_made_before_it_gave_up_leaves_no_trace(graph, error):
    @rewrite(lambda x: op.Exp(op.Neg(x)))
    def late(m):
        m.op.Mul(m.op.Add(m.x, np.float32(7)), m.x)
        raise error

    model = graph([("Neg", "x", "n"), ("Exp", "n", "y")], X)
    before = snapshot(model)
    if isinstance(error, NearMiss):
        assert apply_rules([late])(model, Report()) == 0
    else:
        with pytest.raises(RuntimeError):
            apply_rules([late])(model, Report())
    assert snapshot(model) == before


def test_an_output_is_not_replaced_by_a_value_that_cannot_be_one(graph):
    @rewrite(lambda x: op.Neg(op.Neg(x)))
    def twice(m):
        m.op.Mul(m.x, np.float32(2))  # of no use
        return m.x

    model = graph([("Neg", "x", "n"), ("Neg", "n", "y")], X)
    before, report = snapshot(model), Report()
    assert apply_rules([twice])(model, report) == 0
    assert snapshot(model) == before
    assert "its result is an output of the graph" in report.explanations[0]


def test_a_reason_is_forgotten_when_the_match_succeeds_later(graph):
    allowed = []

    @rewrite(lambda x: op.Exp(op.Neg(x)))
    def once(m):
        m.require(bool(allowed), "not yet")
        return m.op.Softsign(m.x)

    model, report = graph([("Neg", "x", "n"), ("Exp", "n", "y")], X), Report()
    assert apply_rules([once])(model, report) == 0
    assert report.explanations == ["once not fused in 'n1': not yet"]
    allowed.append(True)
    assert apply_rules([once])(model, report) == 1
    assert report.explanations == ["once fused in 'n1' (2 nodes)"]


def test_numbers_of_half_precision_match_within_their_rounding(graph):
    @rewrite(lambda x: x * 0.044715)
    def scaled(m):
        return m.op.Neg(m.x)

    for number, count in ((0.044715, 1), (0.05, 0)):
        model = graph([("Mul", "x k", "y")], {"x": ((4,), np.float16)}, k=np.float16(number))
        assert apply_rules([scaled])(model, Report()) == count
    model = graph([("Mul", "x k", "y")], {"x": (4,)}, k=np.float32(np.float16(0.044715)))
    assert apply_rules([scaled])(model, Report()) == 0
