"""Nothing changes for NaN, infinities and negative zero."""

import math

import numpy as np
import pytest

F = np.float32
X = {"x": ("n",)}
ROWS = {"x": ("n", 4)}
SPECIAL = F([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, 3, -3, 88, -90])
SPECIAL_ROWS = F(
    [
        [1, 2, 3, 4],
        [np.nan, 1, 2, 3],
        [np.inf, 1, 2, 3],
        [-np.inf, 1, 2, 3],
        [-np.inf] * 4,
        [100, 200, 300, 400],
    ]
)
RELU6 = [("Add", "x three", "a"), ("Clip", "a zero six", "c")]
SIX = {"three": F(3), "zero": F(0), "six": F(6)}
GELU = [
    ("Div", "x root", "d"),
    ("Erf", "d", "e"),
    ("Add", "e one", "t"),
    ("Mul", "x t", "m"),
    ("Mul", "m half", "y"),
]
SOFTMAX = [
    ("ReduceMax", "x axis", "m"),
    ("Sub", "x m", "d"),
    ("Exp", "d", "e"),
    ("ReduceSum", "e axis", "s"),
    ("Div", "e s", "y"),
]
LOG_SOFTMAX = [*SOFTMAX[:4], ("Log", "s", "l"), ("Sub", "d l", "y")]
LAYER_NORM = [
    ("ReduceMean", "x axis", "m"),
    ("Sub", "x m", "d"),
    ("Mul", "d d", "q"),
    ("ReduceMean", "q axis", "v"),
    ("Add", "v epsilon", "w"),
    ("Sqrt", "w", "r"),
    ("Div", "d r", "y"),
]
AXIS = {"axis": np.array([-1])}


@pytest.mark.parametrize(
    ("nodes", "weights", "left"),
    [
        ([*RELU6, ("Mul", "x c", "m"), ("Div", "m six", "y")], SIX, ["HardSwish"]),
        ([*RELU6, ("Div", "c six", "y")], SIX, ["HardSigmoid"]),
        ([("Sigmoid", "x", "g"), ("Mul", "x g", "y")], {}, ["Swish"]),
        ([("Softplus", "x", "s"), ("Tanh", "s", "t"), ("Mul", "x t", "y")], {}, ["Mish"]),
        (
            [("Mul", "x k", "b"), ("Sigmoid", "b", "g"), ("Mul", "g x", "y")],
            {"k": F(1.702)},
            ["Swish"],
        ),
        (GELU, {"root": F(math.sqrt(2)), "one": F(1), "half": F(0.5)}, ["Gelu"]),
        (
            [("Relu", "x", "r"), ("Clip", "r low high", "y")],
            {"low": F(-3), "high": F(-1)},
            ["Clip"],
        ),
    ],
)
def test_activations(graph, optimized, nodes, weights, left):
    assert optimized(graph(nodes, X, **weights), feeds={"x": SPECIAL})[0] == left


@pytest.mark.parametrize(
    ("nodes", "weights", "left"),
    [
        (SOFTMAX, AXIS, ["Softmax"]),
        (LOG_SOFTMAX, AXIS, ["LogSoftmax"]),
        (LAYER_NORM, {**AXIS, "epsilon": F(1e-5)}, ["LayerNormalization"]),
    ],
)
def test_normalizations(graph, optimized, nodes, weights, left):
    assert optimized(graph(nodes, ROWS, **weights), feeds={"x": SPECIAL_ROWS})[0] == left


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("kind", ["Mul", "Add", "Sub", "Div"])
def test_operands_that_are_not_finite_stay_out_of_weights(graph, optimized, kind, value):
    weights = np.random.default_rng(1).standard_normal((4, 3, 2, 2)).astype(F)
    nodes = [("Conv", "x w", "c"), (kind, "c k", "y")]
    left, report = optimized(graph(nodes, {"x": (1, 3, 4, 4)}, w=weights, k=F(value)))
    assert left == ["Conv", kind]
    assert any("not finite" in text for text in report.explanations)


def test_a_division_by_zero_stays(graph, optimized):
    nodes = [("Conv", "x w", "c"), ("Div", "c k", "y")]
    left, report = optimized(graph(nodes, {"x": (1, 1, 4, 4)}, w=np.ones((1, 1, 1, 1), F), k=F(0)))
    assert left == ["Conv", "Div"]
    assert any("divides by zero" in text for text in report.explanations)


def test_a_variance_of_zero_stays(graph, optimized):
    nodes = [("BatchNormalization", "x s b m v", "z", {"epsilon": 0.0}), ("Relu", "z", "y")]
    one, zero = np.ones(3, F), np.zeros(3, F)
    left, report = optimized(graph(nodes, {"x": (1, 3, 4, 4)}, s=one, b=zero, m=one, v=zero))
    assert left == ["BatchNormalization", "Relu"]
    assert any("not finite" in text for text in report.explanations)


def test_an_infinite_image_through_a_folded_convolution(graph, optimized):
    rng = np.random.default_rng(2)
    image = rng.standard_normal((2, 3, 5, 5)).astype(F)
    image[0, 0, 0, 0], image[1, 1, 2, 2] = np.inf, np.nan
    nodes = [("Conv", "x w", "c"), ("Mul", "c k", "y")]
    weights = {"w": rng.standard_normal((4, 3, 2, 2)).astype(F), "k": F(0)}
    assert optimized(graph(nodes, {"x": ("n", 3, 5, 5)}, **weights), feeds={"x": image})[0] == [
        "Conv"
    ]


def test_a_product_of_constants_may_not_vanish(graph, optimized):
    nodes = [("Mul", "x a", "p"), ("Mul", "p b", "y")]
    model = graph(nodes, X, a=F(1e-30), b=F(1e-30))
    left, report = optimized(model, feeds={"x": F([1e38, 1e35])})
    assert left == ["Mul", "Mul"]
    assert any("too small" in text for text in report.explanations)


@pytest.mark.parametrize(
    ("kind", "names", "value", "goes"),
    [
        ("Add", "x k", 0.0, False),
        ("Add", "k x", -0.0, True),
        ("Sub", "x k", 0.0, True),
        ("Sub", "x k", -0.0, False),
        ("Mul", "k x", 1.0, True),
        ("Div", "x k", 1.0, True),
        ("Div", "k x", 1.0, False),
        ("Sub", "k x", 0.0, False),
    ],
)
def test_neutral_operands_go_unless_they_change_the_sign_of_zero(
    graph, optimized, kind, names, value, goes
):
    nodes = [(kind, names, "a"), ("Reciprocal", "a", "y")]
    left, _ = optimized(graph(nodes, X, k=F(value)), feeds={"x": SPECIAL})
    assert (left == ["Reciprocal"]) == goes


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_image_that_is_not_finite_in_another_order_of_axes(graph, optimized, value):
    """A product over channels spreads it over one pixel, as the convolution it becomes does."""
    rng = np.random.default_rng(3)
    first, back = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
    nodes = [
        ("MaxPool", "x", "p", {"kernel_shape": [1, 1], "strides": [1, 2]}),
        ("Transpose", "p", "t", back),
        ("MatMul", "t m", "a"),
        ("Add", "a k", "b"),
        ("Unsqueeze", "b three", "u"),
        ("Tile", "u counts", "c"),
        ("Reshape", "c shape", "d"),
        ("Transpose", "d", "y", first),
    ]
    constants = {"m": rng.standard_normal((3, 4)).astype(F), "k": F([0, 1, -1, 2])}
    for name, numbers in (("three", [3]), ("counts", [1, 1, 1, 2, 1]), ("shape", [-1, 5, 6, 4])):
        constants[name] = np.array(numbers, np.int64)
    image = rng.standard_normal((2, 3, 5, 6)).astype(F)
    image[1, 2, 3, 4] = value
    model = graph(nodes, {"x": ("n", 3, 5, 6)}, **constants)
    assert optimized(model, feeds={"x": image})[0] == ["MaxPool", "Conv", "Resize"]


def test_a_neutral_operand_that_changes_the_shape_stays(graph, optimized):
    assert optimized(graph([("Mul", "x k", "y")], X, k=np.ones((1, 1), F)))[0] == ["Mul"]
