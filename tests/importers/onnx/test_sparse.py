"""Sparse tensors become dense wherever a model has them, and none fills memory."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh

F = np.float32


def sparse(shape, name="w"):
    values = onnx.numpy_helper.from_array(np.array([3.0], F), name)
    indices = onnx.numpy_helper.from_array(np.array([1], np.int64), f"{name}.indices")
    return oh.make_sparse_tensor(values, indices, shape)


def model(where, shape):
    """Make a model that adds the sum of a sparse tensor to its input."""
    total = oh.make_node("ReduceSum", ["w"], ["s"], keepdims=0)
    add = oh.make_node("Add", ["x", "s"], ["y"])
    x, y = (oh.make_tensor_value_info(name, 1, ["n"]) for name in "xy")
    weights = [sparse(shape)] if where == "initializer" else []
    nodes = [total, add]
    if where == "constant":
        nodes.insert(0, oh.make_node("Constant", [], ["w"], sparse_value=sparse(shape)))
    if where == "branch":
        yes = oh.make_graph([total, add], "yes", [], [y], sparse_initializer=[sparse(shape)])
        no = oh.make_graph([oh.make_node("Neg", ["x"], ["z"])], "no", [], [
            oh.make_tensor_value_info("z", 1, ["n"])
        ])  # fmt: skip
        nodes = [
            oh.make_node("Cast", ["one"], ["c"], to=9),
            oh.make_node("If", ["c"], ["y"], then_branch=yes, else_branch=no),
        ]
        weights = []
    dense = [onnx.numpy_helper.from_array(np.array(1), "one")]
    graph = oh.make_graph(nodes, "g", [x], [y], dense, sparse_initializer=weights)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
def test_sparse_tensors_become_dense(where):
    session = sardonyx.Session(model(where, [2, 4]), threads=1)
    np.testing.assert_array_equal(session(np.array([1, 2], F)), [4, 5])


@pytest.mark.parametrize("where", ["initializer", "constant", "branch"])
def test_a_large_sparse_tensor_is_refused(where):
    for shape in ([2**40], [2**62, 4], [2**29]):
        with pytest.raises(sardonyx.UnsupportedModel, match=r"'w'.* dense"):
            sardonyx.load(model(where, shape))
    with pytest.raises(sardonyx.UnsupportedModel, match="more than 31 bytes"):
        sardonyx.load(model(where, [8]), sparse_limit=31)
    sardonyx.load(model(where, [8]), sparse_limit=32)
