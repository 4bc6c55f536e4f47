"""Transposes between reshapes, and products of matrices in one batch, on fewer axes."""

import numpy as np
from sardonyx.optimizer import optimize
from sardonyx.optimizer.values import rank


def ints(*values):
    return np.array(values, np.int64)


def test_a_transpose_leaves_axes_of_size_1_to_the_reshapes(graph, optimized):
    nodes = [
        ("Reshape", "x parted", "a"),
        ("Transpose", "a", "t", {"perm": [0, 3, 1, 2, 4]}),
        ("Reshape", "t joined", "r"),
        ("Exp", "r", "y"),
    ]
    weights = {"parted": ints(0, 5, 1, 3, 4), "joined": ints(-1, 5, 4)}
    model = graph(nodes, {"x": ("n", 5, 12)}, **weights)
    optimized(model)
    transposes = [node for node in optimize(model).graph if node.op_type == "Transpose"]
    assert [rank(node.outputs[0]) for node in transposes] == [4]


def test_a_product_takes_the_axes_of_its_result(graph, optimized):
    nodes = [
        ("Reshape", "x flat", "a"),
        ("Reshape", "w turned", "b"),
        ("MatMul", "a b", "p"),
        ("Reshape", "p apart", "y"),
    ]
    inputs = {"x": ("n", 3, 5, 4), "w": ("n", 3, 4, 6)}
    weights = {"flat": ints(-1, 5, 4), "turned": ints(-1, 4, 6), "apart": ints(-1, 3, 5, 6)}
    left, _ = optimized(graph(nodes, inputs, **weights))
    assert left == ["MatMul"]


def test_a_product_of_another_batch_stays(graph, optimized):
    """Two heads of three rows are three heads of two."""
    nodes = [
        ("Reshape", "x flat", "a"),
        ("Reshape", "w turned", "b"),
        ("MatMul", "a b", "p"),
        ("Reshape", "p apart", "y"),
    ]
    inputs = {"x": (2, 3, 5, 4), "w": (2, 3, 4, 6)}
    weights = {"flat": ints(6, 5, 4), "turned": ints(6, 4, 6), "apart": ints(3, 2, 5, 6)}
    left, _ = optimized(graph(nodes, inputs, **weights))
    assert "MatMul" in left
