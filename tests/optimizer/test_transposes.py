"""Transposes that vanish by another order of axes."""

import numpy as np
import pytest

LAST = {"x": ("n", 6, 8, 4)}
FIRST, BACK = {"perm": [0, 3, 1, 2]}, {"perm": [0, 2, 3, 1]}
LAST_AXIS, HALVES = {"axis": -1}, {"axis": 3, "num_outputs": 2}
CONV = ("Conv", "a w", "c")
CONVS = {"w": np.random.default_rng(7).standard_normal((4, 4, 1, 1)).astype(np.float32)}


def ints(*values):
    return np.array(values, np.int64)


def floats(*shape):
    return np.random.default_rng(8).standard_normal(shape).astype(np.float32)


def between(*nodes):
    """Nodes from ``b`` to ``d``, both with channels last, between two convolutions."""
    before = [("Transpose", "x", "a", FIRST), CONV, ("Transpose", "c", "b", BACK)]
    after = [("Transpose", "d", "e", FIRST), ("Conv", "e w", "f"), ("Transpose", "f", "y", BACK)]
    return [*before, *nodes, *after]


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([("Selu", "b", "d")], {}),
        ([("Mul", "b k", "m"), ("Tanh", "m", "d")], {"k": floats(6, 1, 4)}),
        ([("Add", "k b", "d")], {"k": np.float32(3)}),
        ([("PRelu", "b k", "d")], {"k": floats(4)}),
        ([("Sin", "b", "s"), ("Max", "b s", "d")], {}),
        ([("Sin", "b", "s"), ("Concat", "b s k", "q", LAST_AXIS), ("Slice", "q l h ax", "d")],
         {"l": ints(3), "h": ints(7), "ax": ints(-1), "k": floats(2, 6, 8, 3)}),
        ([("Split", "b", "p q", HALVES), ("Concat", "q p", "d", LAST_AXIS)], {}),
        ([("ReduceMax", "b ax", "g"), ("Sub", "b g", "d")], {"ax": ints(1, 2)}),
        ([("ReduceMean", "b ax", "g"), ("Sub", "b g", "d")], {"ax": ints(-1)}),
        ([("Pad", "b p", "d", {"mode": "reflect"})], {"p": ints(0, 1, 2, 0, 0, 3, 4, 0)}),
        ([("Pad", "b p v ax", "d")], {"p": ints(1, 2), "v": np.float32(2), "ax": ints(2)}),
        ([("Tile", "b p", "d")], {"p": ints(1, 2, 3, 1)}),
        ([("Resize", "b no k", "d")], {"no": floats(0), "k": np.float32([1, 2, 3, 1])}),
        ([("Softmax", "b", "d")], {}),
    ],
)  # fmt: skip
def test_between_convolutions(graph, optimized, nodes, constants):
    left, report = optimized(graph(between(*nodes), LAST, **CONVS, **constants), n=2)
    assert left.count("Transpose") == 2
    assert any("Transpose fewer" in text for text in report.explanations)


def test_a_gate_of_the_whole_image(graph, optimized):
    """Squeeze and excite: the gate is computed without height and width."""
    nodes = between(
        ("ReduceMean", "b ax", "g", {"keepdims": 0}),
        ("MatMul", "g gw", "h"),
        ("Sigmoid", "h", "s"),
        ("Reshape", "s shape", "r"),
        ("Mul", "b r", "d"),
    )
    constants = {"ax": ints(1, 2), "gw": floats(4, 4), "shape": ints(-1, 1, 1, 4)}
    left, _ = optimized(graph(nodes, LAST, **CONVS, **constants))
    assert left.count("Transpose") == 2 and left.count("Reshape") == 1


def test_a_mean_of_each_channel(graph, optimized):
    nodes = [("Transpose", "x", "t", BACK), ("ReduceMean", "t ax", "y", {"keepdims": 0})]
    left, _ = optimized(graph(nodes, {"x": ("n", 4, 6, 8)}, ax=ints(1, 2)))
    assert left == ["ReduceMean"]


@pytest.mark.parametrize(
    "nodes",
    [
        [("Transpose", "x", "t", BACK), ("Sin", "t", "y")],
        [("Transpose", "x", "t", BACK), ("Sin", "t", "s"), ("Add", "s other", "y")],
        [("Transpose", "x", "t", BACK), ("ReduceMax", "t ax", "y", {"keepdims": 0})],
        [("Transpose", "x", "t", BACK), ("Add", "t row", "y")],
    ],
)
def test_nothing_changes_without_gain(graph, optimized, nodes):
    inputs = {"x": ("n", 4, 6, 8), "other": ("n", 6, 8, 4), "row": (4,), "z": (1,)}
    left, _ = optimized(graph(nodes, inputs, ax=ints(0)))
    assert left == [node[0] for node in nodes]


def test_two_transposes_become_one(graph, optimized):
    nodes = [("Transpose", "x", "t", BACK), ("Sin", "t", "s"), ("Transpose", "s", "y", BACK)]
    left, _ = optimized(graph(nodes, {"x": ("n", 4, 6, 8)}))
    assert left == ["Sin", "Transpose"]


def test_outputs_in_the_middle_keep_their_order(graph, optimized):
    nodes = between(("Sin", "b", "s"), ("Selu", "s", "d"))
    left, _ = optimized(graph(nodes, LAST, outputs="s y", **CONVS))
    assert left.count("Transpose") == 3


def test_inner_values_of_subgraphs_keep_their_order(graph, optimized):
    from onnx import helper as oh

    branch = oh.make_graph(
        [oh.make_node("Cos", ["s"], ["o"])], "b", [], [oh.make_empty_tensor_value_info("o")]
    )
    nodes = [
        *between(("Sin", "b", "s"), ("Selu", "s", "d")),
        ("If", "flag", "z", {"then_branch": branch, "else_branch": branch}),
    ]
    model = graph(nodes, {**LAST, "flag": ((), np.bool_)}, outputs="z y", **CONVS)
    x = floats(2, 6, 8, 4)
    left, _ = optimized(model, feeds={"x": x, "flag": np.array(True)})
    assert left.count("Transpose") <= 3


def test_a_product_over_channels_becomes_a_convolution(graph, optimized):
    nodes = between(("MatMul", "b m", "p"), ("Add", "p k", "s"), ("Gelu", "s", "d"))
    left, _ = optimized(graph(nodes, LAST, **CONVS, m=floats(4, 4), k=floats(4)))
    assert left.count("Transpose") == 2 and left.count("Conv") == 3 and "MatMul" not in left


def test_a_flattened_product_takes_all_axes(graph, optimized):
    nodes = [("Reshape", "x rows", "r"), ("MatMul", "r m", "p"), ("Reshape", "p back", "y")]
    constants = {"rows": ints(-1, 4), "m": floats(4, 5), "back": ints(-1, 6, 8, 5)}
    assert optimized(graph(nodes, LAST, **constants))[0] == ["MatMul"]
    constants["back"] = ints(-1, 8, 6, 5)
    assert optimized(graph(nodes, LAST, **constants))[0] == ["Reshape", "MatMul", "Reshape"]


def test_groups_of_channels_are_normalized_in_either_order(graph, optimized):
    nodes = between(
        ("Reshape", "b cut", "g"),
        ("ReduceMean", "g ax", "m"),
        ("Sub", "g m", "s"),
        ("Reshape", "s back", "d"),
    )
    constants = {"cut": ints(-1, 6, 8, 2, 2), "ax": ints(1, 2, 4), "back": ints(0, 0, 0, -1)}
    left, _ = optimized(graph(nodes, LAST, **CONVS, **constants))
    assert left.count("Transpose") == 2


def test_a_reshape_to_computed_sizes_changes_its_order(graph, optimized):
    nodes = between(
        ("Unsqueeze", "b three", "u"),
        ("Tile", "u counts", "t"),
        ("Shape", "b", "lead", {"end": 2}),
        ("Shape", "b", "width", {"start": 2, "end": 3}),
        ("Mul", "width two", "more"),
        ("Concat", "lead more four", "sizes", {"axis": 0}),
        ("Reshape", "t sizes", "d"),
    )
    constants = {"three": ints(3), "counts": ints(1, 1, 1, 2, 1), "two": ints(2), "four": ints(4)}
    model = graph(nodes, {"x": ("n", "h", "w", 4)}, **CONVS, **constants)
    left, _ = optimized(model, n=2, h=3, w=5)
    assert left.count("Transpose") == 2 and "Tile" not in left and "Resize" in left


def test_sequences_are_convolved_as_such(graph, optimized):
    """TensorFlow makes images one pixel high of them."""
    nodes = [
        ("Unsqueeze", "x one", "u"),
        ("Transpose", "u", "a", FIRST),
        ("Conv", "a w", "c"),
        ("Transpose", "c", "b", BACK),
        ("Squeeze", "b one", "s"),
        ("Add", "s k", "t"),
        ("Relu", "t", "r"),
        ("Unsqueeze", "r one", "v"),
        ("Transpose", "v", "d", FIRST),
        ("MaxPool", "d", "p", {"kernel_shape": [1, 2], "strides": [2, 2]}),
        ("Transpose", "p", "e", BACK),
        ("Squeeze", "e one", "y"),
    ]
    model = graph(nodes, {"x": ("n", 9, 4)}, one=ints(1), w=floats(5, 4, 1, 3), k=floats(5))
    left, _ = optimized(model)
    assert left == ["Transpose", "Conv", "Relu", "MaxPool", "Transpose"]


def test_a_shape_does_not_hold_a_transpose(graph, optimized):
    nodes = [
        *between(("Sin", "b", "d")),
        ("Shape", "b", "sizes", {"start": 1}),
        ("Cast", "sizes", "z", {"to": 1}),
    ]
    left, _ = optimized(graph(nodes, {"x": ("n", "h", "w", 4)}, outputs="y z", **CONVS))
    assert left.count("Transpose") == 2


def test_a_bias_behind_a_transpose_joins_its_convolution(graph, optimized):
    nodes = [("Conv", "x w", "c"), ("Transpose", "c", "t", BACK), ("Add", "t k", "y")]
    left, _ = optimized(graph(nodes, {"x": ("n", 4, 6, 8)}, **CONVS, k=floats(4)))
    assert left == ["Conv", "Transpose"]
