"""Scales and shifts go into weights where that is exact."""

import numpy as np
import pytest

F = np.float32
IMAGE = {"x": ("n", 4, 6, 6)}


def rand(*shape):
    return np.random.default_rng(3).standard_normal(shape).astype(F)


def statistics(channels):
    s, b, m, v = rand(4, channels)
    return {"s": s, "b": b, "m": m, "v": v**2}


BN = ("BatchNormalization", "x s b m v", "z")


@pytest.mark.parametrize("attributes", [{}, {"group": 2}, {"auto_pad": "VALID"}])
def test_batch_normalization_before_a_convolution(graph, optimized, attributes):
    weights = rand(6, 4 // attributes.get("group", 1), 3, 3)
    nodes = [BN, ("Conv", "z w c", "y", attributes)]
    model = graph(nodes, IMAGE, w=weights, c=rand(6), **statistics(4))
    left, report = optimized(model)
    assert left == ["Conv"]
    assert any("folded into 'n1', after it" in text for text in report.explanations)


@pytest.mark.parametrize("transposed", [0, 1])
def test_batch_normalization_before_a_product(graph, optimized, transposed):
    weights = rand(6, 4) if transposed else rand(4, 6)
    nodes = [BN, ("Gemm", "z w c", "y", {"transB": transposed})]
    assert optimized(graph(nodes, {"x": ("n", 4)}, w=weights, c=rand(1), **statistics(4)))[0] == [
        "Gemm"
    ]


@pytest.mark.parametrize("attributes", [{"pads": [1, 1, 1, 1]}, {"auto_pad": "SAME_UPPER"}])
def test_a_shift_does_not_reach_padding(graph, optimized, attributes):
    nodes = [BN, ("Conv", "z w", "y", attributes)]
    assert optimized(graph(nodes, IMAGE, w=rand(6, 4, 3, 3), **statistics(4)))[0] == [
        "Mul",
        "Add",
        "Conv",
    ]
    nodes = [("Add", "x k", "z"), ("Conv", "z w", "y", attributes)]
    left, report = optimized(graph(nodes, IMAGE, w=rand(6, 4, 3, 3), k=rand(4, 1, 1)))
    assert left == ["Add", "Conv"]
    assert any("the padding of 'n1'" in text for text in report.explanations)
    nodes = [("Mul", "x k", "z"), ("Conv", "z w", "y", attributes)]
    assert optimized(graph(nodes, IMAGE, w=rand(6, 4, 3, 3), k=rand(4, 1, 1)))[0] == ["Conv"]


@pytest.mark.parametrize("kind", ["Mul", "Add", "Sub", "Div"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_a_constant_per_channel(graph, optimized, kind, order):
    after = [("Conv", "x w", "z"), (kind, "z k", "y")]
    before = [(kind, "x k", "z"), ("Conv", "z w", "y")]
    channels = 5 if order == "after" else 4
    model = graph(
        after if order == "after" else before,
        IMAGE,
        w=rand(5, 4, 2, 2),
        k=rand(1, channels, 1, 1),
    )
    assert optimized(model)[0] == ["Conv"]


@pytest.mark.parametrize("group", [1, 2, 4])
def test_transposed_convolutions_in_groups(graph, optimized, group):
    nodes = [
        ("ConvTranspose", "x w", "z", {"group": group, "strides": [2, 2]}),
        ("BatchNormalization", "z s b m v", "y"),
    ]
    channels = 3 * group
    assert optimized(graph(nodes, IMAGE, w=rand(4, 3, 2, 2), **statistics(channels)))[0] == [
        "ConvTranspose"
    ]


@pytest.mark.parametrize("bias", [(3, 1), (3, 3)])
def test_a_bias_that_differs_by_row_keeps_the_factor_outside(graph, optimized, bias):
    nodes = [("Gemm", "x w c", "z"), ("Mul", "z k", "y")]
    model = graph(nodes, {"x": (3, 5)}, w=rand(5, 3), c=rand(*bias), k=rand(3))
    left, report = optimized(model)
    assert left == ["Gemm", "Mul"]
    assert any("the bias of 'n0' is not one value" in text for text in report.explanations)


def test_a_factor_with_more_axes_stays(graph, optimized):
    nodes = [("Gemm", "x w", "z"), ("Mul", "z k", "y")]
    model = graph(nodes, {"x": (3, 5)}, w=rand(5, 3), k=np.full((1, 1, 1), 0.5, F))
    assert optimized(model)[0] == ["Gemm", "Mul"]


def test_shared_weights_are_changed_for_one_user_only(graph, optimized):
    nodes = [
        ("Conv", "x w", "a"),
        ("Relu", "x", "r"),
        ("Conv", "r w", "b"),
        ("Mul", "b k", "c"),
        ("Add", "a c", "y"),
    ]
    left, _ = optimized(graph(nodes, IMAGE, w=rand(5, 4, 2, 2), k=rand(5, 1, 1)))
    assert sorted(left) == ["Add", "Conv", "Conv", "Relu"]


def test_a_convolution_that_is_an_output_keeps_its_weights(graph, optimized):
    nodes = [("Conv", "x w", "c"), ("BatchNormalization", "c s b m v", "y")]
    model = graph(nodes, IMAGE, "c y", w=rand(5, 4, 2, 2), **statistics(5))
    assert optimized(model)[0] == ["Conv", "Mul", "Add"]
    assert optimized(graph(nodes, IMAGE, "y", w=rand(5, 4, 2, 2), **statistics(5)))[0] == ["Conv"]


def test_training_mode_stays(graph, optimized):
    nodes = [("BatchNormalization", "x s b m v", "y u w", {"training_mode": 1})]
    left, report = optimized(graph(nodes, IMAGE, "y", **statistics(4)))
    assert left == ["BatchNormalization"]
    assert any("training mode" in text for text in report.explanations)
