"""Activations move before reshapes and transposes."""

import numpy as np
import pytest

IMAGE = {"x": ("n", 3, 6, 8)}


def ints(*values):
    return np.array(values, np.int64)


def weights(*shape):
    return np.random.default_rng(7).standard_normal(shape).astype(np.float32)


CONV = ("Conv", "x w", "c")


@pytest.mark.parametrize("kind", ["Sigmoid", "Relu", "Tanh", "HardSwish", "LeakyRelu", "Exp"])
def test_behind_a_convolution(graph, optimized, kind):
    nodes = [
        CONV,
        ("Reshape", "c shape", "r"),
        ("Transpose", "r", "t", {"perm": [0, 1, 3, 4, 2]}),
        (kind, "t", "y"),
    ]
    model = graph(nodes, IMAGE, w=weights(10, 3, 1, 1), shape=ints(-1, 2, 5, 6, 8))
    left, report = optimized(model)
    assert left == ["Conv", kind, "Reshape", "Transpose"]
    assert any("moved behind 'n0'" in text for text in report.explanations)


def test_behind_a_product_with_limits(graph, optimized):
    nodes = [("MatMul", "x w", "c"), ("Unsqueeze", "c a", "u"), ("Clip", "u low high", "y")]
    limits = {"low": np.float32(-0.5), "high": np.float32(0.25)}
    model = graph(nodes, {"x": ("n", 5)}, w=weights(5, 7), a=ints(1), **limits)
    assert optimized(model)[0] == ["MatMul", "Clip", "Unsqueeze"]


def test_what_is_read_twice_stays(graph, optimized):
    for extra in [("Reshape", "c other", "z"), ("Exp", "r", "z")]:
        nodes = [CONV, ("Reshape", "c shape", "r"), ("Sigmoid", "r", "y"), extra]
        constants = {"w": weights(4, 3, 1, 1), "shape": ints(0, 192), "other": ints(-1, 96)}
        left, _ = optimized(graph(nodes, IMAGE, outputs="y z", **constants))
        assert left.index("Reshape") < left.index("Sigmoid")


def test_views_that_are_outputs_stay(graph, optimized):
    nodes = [CONV, ("Reshape", "c shape", "r"), ("Sigmoid", "r", "y")]
    model = graph(nodes, IMAGE, outputs="r y", w=weights(4, 3, 1, 1), shape=ints(0, 192))
    assert optimized(model)[0] == ["Conv", "Reshape", "Sigmoid"]


def test_limits_that_are_computed_stay(graph, optimized):
    nodes = [
        CONV,
        ("Reshape", "c shape", "r"),
        ("ReduceMax", "x", "high", {"keepdims": 0}),
        ("Clip", "r low high", "y"),
    ]
    constants = {"w": weights(4, 3, 1, 1), "shape": ints(0, 192), "low": np.float32(0)}
    left, _ = optimized(graph(nodes, IMAGE, **constants))
    assert left[-1] == "Clip"
