"""Emission: constants and conversions are there once, and what has no kernel is taken back."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from sardonyx.kernels.abi import ARENA
from sardonyx.runtime.emission import Emission
from sardonyx.runtime.graph import Graph, OnHost
from sardonyx.runtime.symbolic import symbol


@pytest.fixture
def emit() -> Emission:
    return Emission(Graph({"": 24}, [], []), {}, {})


def test_equal_arrays_are_stored_once(emit):
    array, other = np.ones(3, np.float32), np.ones(3, np.float32)
    buffer = emit.constant(array).buffer
    assert emit.constant(array).buffer is emit.constant(other).buffer is buffer
    for different in (np.array([1, 1, 2], np.float32), np.ones(3, np.int32), np.ones((3, 1), "f")):
        assert emit.constant(different).buffer is not buffer
    assert emit.constant(np.zeros(1, "f")).buffer is not emit.constant(-np.zeros(1, "f")).buffer


def test_arrays_that_differ_in_one_place_are_not_compared(emit, monkeypatch):
    compared = []
    equal = np.array_equal
    monkeypatch.setattr(np, "array_equal", lambda *two: compared.append(two) or equal(*two))
    for place in range(300):
        array = np.zeros(1024, np.float32)
        array[place] = 1
        emit.constant(array)
    assert not compared


def test_a_conversion_is_emitted_once_and_only_where_it_is_needed(emit):
    tensor = emit.new((2, 3, 4, 5), "float32")
    assert emit.ordered(tensor).buffer is tensor.buffer
    assert emit.program.step_count == 0
    converted = emit.channels_last(tensor)
    assert converted.strides == (60, 1, 15, 3)
    assert emit.channels_last(tensor) is converted
    assert emit.program.step_count == 1


def test_steps_and_conversions_without_a_kernel_are_taken_back(emit):
    tensor = emit.new((2, 3, 4, 5), "float32")
    with pytest.raises(OnHost), emit.attempt():
        first = emit.channels_last(tensor)
        raise OnHost("reason")
    assert emit.program.step_count == 0
    assert emit.channels_last(tensor) is not first


def test_caught_steps_are_not_in_the_program(emit):
    a, b = (emit.new((4,), "float32", kind=ARENA) for _ in range(2))
    with emit.catching() as steps:
        assert emit.is_catching
        emit.copy(a, b, "Copy")
    assert [step.op_type for step in steps] == ["Copy"]
    assert emit.program.step_count == 0 and not emit.is_catching


def test_sizes_are_compared_at_once_where_they_are_numbers(emit):
    n = symbol("n")
    emit.check(3, 3, "sizes")
    emit.check(1, 3, "sizes", broadcast=True)
    with pytest.raises(sardonyx.InvalidModel, match="sizes: 2 and 3"):
        emit.check(2, 3, "sizes")
    emit.check(n, n, "sizes")
    emit.check(n, 3, "sizes")
    checks = emit.program.finish({}).checks
    assert [check.message for check in checks] == ["sizes"]


def test_weights_that_several_nodes_use_are_packed_once_for_each_form():
    weights = np.random.default_rng(0).standard_normal((96, 96), np.float32)
    sizes = []
    for count in (2, 6):  # the first product of a model may have a form of its own
        nodes = [
            helper.make_node("MatMul", [f"t{i}" if i else "x", "w"], [f"t{i + 1}"])
            for i in range(count)
        ]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 96])],
            [onnx.ValueInfoProto(name=f"t{count}")], [onnx.numpy_helper.from_array(weights, "w")],
        )  # fmt: skip
        imports = [helper.make_opsetid("", 22)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        session = sardonyx.Session(model, threads=1)
        sizes.append(session.engine.program.weights.nbytes)
        x = np.eye(96, dtype=np.float32)
        wanted = np.linalg.matrix_power(weights.astype(np.float64), count)
        np.testing.assert_allclose(session(x), wanted, rtol=1e-3, atol=1e-3 * np.abs(wanted).max())
    assert sizes[0] == sizes[1]


def test_a_product_packs_what_it_shares_with_another_once():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["y"]),
    ]
    ports = [helper.make_tensor_value_info(n, 1, [96, 96]) for n in "xw"]
    graph = helper.make_graph(nodes, "g", ports, [onnx.ValueInfoProto(name="y")])
    imports = [helper.make_opsetid("", 22)]
    session = sardonyx.Session(helper.make_model(graph, opset_imports=imports, ir_version=10))
    steps = [step.op_type for step in session.engine.program.steps]
    assert steps.count("Pack") == 1
    w = np.random.default_rng(0).standard_normal((96, 96), np.float32)
    np.testing.assert_allclose(session(w, w), w @ w @ w, rtol=1e-3, atol=1e-1)
