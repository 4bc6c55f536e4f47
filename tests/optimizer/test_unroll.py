"""Short loops become their steps."""

import numpy as np
import pytest
from onnx import helper as oh
from sardonyx.optimizer import optimize, optimize_with_report, unroll

F = np.float32


def loop(**options):
    """A Loop: a state that is doubled, one that is the number of steps; each step is collected."""
    nodes = [
        oh.make_node("Add", ["s", "s"], ["p"]),
        oh.make_node("Add", ["p", "x"], ["t"]),
        oh.make_node("Add", ["k", "one"], ["l"]),
        oh.make_node("Cast", ["i"], ["f"], to=1),
        oh.make_node("Mul", ["t", "f"], ["q"]),
        oh.make_node("Identity", [options.get("condition", "go")], ["on"]),
        oh.make_node("Less", ["l", "two"], ["few"]),
    ]
    inputs = [("i", 7, []), ("go", 9, []), ("s", 1, ["n", 3]), ("k", 7, [])]
    outputs = [("on", 9, []), ("t", 1, ["n", 3]), ("l", 7, []), ("q", 1, ["n", 3])]
    return oh.make_graph(
        nodes,
        "body",
        [oh.make_tensor_value_info(*each) for each in inputs],
        [oh.make_tensor_value_info(*each) for each in outputs],
    )


def with_loop(graph, trips, body, outputs="y z o"):
    nodes = [("Loop", "trips yes x zero", "y z o", {"body": body})]
    weights = {"yes": np.array(True), "zero": np.int64(0), "one": np.int64(1), "two": np.int64(2)}
    if trips is None:
        nodes.insert(0, ("Size", "x", "trips"))
    else:
        weights["trips"] = np.int64(trips)
    return graph(nodes, {"x": ("n", 3)}, outputs=outputs, **weights)


@pytest.mark.parametrize("trips", [1, 4])
def test_steps_take_the_place_of_a_loop(graph, optimized, trips):
    left, report = optimized(with_loop(graph, trips, loop()))
    assert "Loop" not in left and left.count("Concat") <= 1
    assert any(f"unrolled: {trips} steps" in text for text in report.explanations)


@pytest.mark.parametrize(
    ("trips", "condition", "reason"),
    [
        (None, "go", "the number of its steps"),
        (0, "go", "is not known"),
        (3, "few", "may stop before"),
        (300, "go", "more than"),
    ],
)
def test_other_loops_stay(graph, trips, condition, reason):
    model = with_loop(graph, trips, loop(condition=condition))
    optimized, report = optimize_with_report(model, explain=True)
    assert "Loop" in [node.op_type for node in optimized.graph]
    assert any("not unrolled" in text and reason in text for text in report.explanations)


@pytest.mark.parametrize(("limit", "stays"), [(19, True), (1024, False)])
def test_how_long_a_loop_may_become(graph, monkeypatch, limit, stays):
    monkeypatch.setattr(unroll, "NODES", limit)
    optimized = optimize(with_loop(graph, 4, loop()))
    assert ("Loop" in [node.op_type for node in optimized.graph]) == stays
