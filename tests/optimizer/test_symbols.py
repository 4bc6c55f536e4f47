"""Sizes that are equal under different names are recognized, others are not."""

import numpy as np
import pytest
from sardonyx.optimizer import optimize
from sardonyx.optimizer.values import dims


def ints(*values):
    return np.array(values, np.int64)


def sizes(model, name):
    values = {value.name: value for node in model.graph for value in node.outputs}
    return dims(values[name])


@pytest.mark.parametrize(
    ("shape", "target", "expected"),
    [
        (("n", 6), (-1, 2, 3), ["n", 2, 3]),
        (("n", 2, 3), (-1, 6), ["n", 6]),
        (("n", "m", 2), (0, -1, 2), ["n", "m", 2]),
        (("n", "m", 2), (0, -1), ["n", None]),
        (("n", 6), (-1, 3), [None, 3]),
        (("n", 0), (-1, 0), None),
    ],
)
def test_the_size_left_open_is_named_where_it_is_known(graph, shape, target, expected):
    nodes = [("Reshape", "x s", "r"), ("Relu", "r", "y")]
    if expected is None:  # what the size is cannot be told, and the model cannot run
        nodes[0] = ("Reshape", "x s", "r", {"allowzero": 1})
        target = (1, 0)
        expected = [1, 0]
    done = optimize(graph(nodes, {"x": shape}, s=ints(*target)))
    found = sizes(done, done.graph.node(0).outputs[0].name)
    known = [None if isinstance(d, str) and d not in shape else d for d in found]
    assert known == expected


BROADCAST = [
    ("Reshape", "x s", "r"),
    ("Shape", "x", "shape"),
    ("Slice", "shape zero one", "batch"),
    ("Concat", "batch three", "target", {"axis": 0}),
    ("Expand", "r target", "e"),
    ("Mul", "e x", "y"),
]


def test_an_expand_to_the_size_a_tensor_has_goes(graph, optimized):
    weights = {"s": ints(-1, 3), "zero": ints(0), "one": ints(1), "three": ints(3)}
    model = graph(BROADCAST, {"x": ("n", 3)}, **weights)
    for n in (1, 4):
        assert optimized(model, n=n)[0] == ["Mul"]


def test_an_expand_to_the_size_of_another_tensor_stays(graph, optimized):
    nodes = [(op, names.replace("r target", "z target"), *rest) for op, names, *rest in BROADCAST]
    weights = {"zero": ints(0), "one": ints(1), "three": ints(3)}
    model = graph(nodes[1:], {"x": ("n", 3), "z": ("m", 3)}, **weights)
    for m in (1, 4):
        left, _ = optimized(model, n=4, m=m)
        assert "Expand" in left


def test_sums_of_two_names_have_neither(graph, optimized):
    """Either may be 1."""
    nodes = [
        ("Add", "x z", "a"),
        ("Shape", "x", "shape"),
        ("Expand", "a shape", "e"),
        ("Relu", "e", "y"),
    ]
    model = graph(nodes, {"x": ("n", 3), "z": ("m", 3)})
    assert "Expand" in optimized(model, n=4, m=1)[0]
    assert "Expand" in optimized(model, n=1, m=4)[0]


@pytest.mark.parametrize("end", [10**9, 2**31 - 1, 2**63 - 1, 5])
def test_slices_that_reach_every_end_go(graph, optimized, end):
    nodes = [("Relu", "x", "r"), ("Slice", "r s e a", "t"), ("Exp", "t", "y")]
    limits = {"s": ints(0, 0), "e": ints(end, end), "a": ints(0, 1)}
    model = graph(nodes, {"x": ("n", 2**18)}, **limits)
    left, _ = optimized(model, n=7)
    assert left == (["Relu", "Exp"] if end > 5 else ["Relu", "Slice", "Exp"])
    # With so few other elements, 1e9 rows could be there.
    left, _ = optimized(graph(nodes, {"x": ("n", 5)}, **limits), n=7)
    assert left == (["Relu", "Exp"] if end > 10**9 else ["Relu", "Slice", "Exp"])


def test_softmax_as_jax_has_it(graph, optimized):
    nodes = [
        ("ReduceMax", "x a", "m", {"keepdims": 0}),
        ("Max", "least m", "n"),
        ("Reshape", "n column", "c"),
        ("Sub", "x c", "d"),
        ("Exp", "d", "e"),
        ("ReduceSum", "e a", "s", {"keepdims": 0}),
        ("Unsqueeze", "s a", "t"),
        ("Div", "e t", "y"),
    ]
    weights = {"a": ints(1), "least": np.float32(-np.inf), "column": ints(-1, 1)}
    assert optimized(graph(nodes, {"x": ("n", 5)}, **weights))[0] == ["Softmax"]
    weights["column"] = ints(1, -1)
    assert "Softmax" not in optimized(graph(nodes, {"x": (5, 5)}, **weights))[0]
