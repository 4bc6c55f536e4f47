import numpy as np
import pytest
from onnx_ir.passes.common import RemoveUnusedNodesPass
from sardonyx.optimizer.pipeline import Report
from sardonyx.optimizer.rewrite import apply_rules, either, op, rewrite

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
