"""Fusion groups of a model that has more expressions than are worth compiling."""

import numpy as np
import onnx.helper as oh
import onnx.numpy_helper
import pytest
import sardonyx
from onnx.reference import ReferenceEvaluator
from sardonyx.runtime import fusion
from sardonyx.runtime.lowering import lower

OPERATORS = ("Relu", "Sigmoid", "Neg", "Tanh", "Abs", "Softsign")


def random_chain(rng, count, products=False):
    """Elementwise operators at random, and a product before every fifth of them."""
    nodes = []
    for i, name in enumerate(rng.choice(OPERATORS, count)):
        if products and i % 5 == 0:
            name = "MatMul"
        inputs = [f"v{i}", "w"] if name == "MatMul" else [f"v{i}"]
        nodes.append(oh.make_node(name, inputs, [f"v{i + 1}"]))
    x = oh.make_tensor_value_info("v0", 1, ["n", 4])
    y = oh.make_tensor_value_info(f"v{count}", 1, None)
    w = onnx.numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    graph = oh.make_graph(nodes, "chain", [x], [y], [w] if products else [])
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 22)], ir_version=10)


def test_kernels_are_bounded_however_many_expressions_a_model_has(rng):
    for products in (False, True):
        program = lower(sardonyx.load(random_chain(rng, 6000, products)))
        kernels = [ref for ref in program.kernels if ref.function == "pointwise"]
        assert len(kernels) <= fusion.MAX_EXPRESSIONS + 2 * len(OPERATORS)


def test_nodes_that_stay_alone_compute_the_same(rng, monkeypatch):
    model = random_chain(rng, 60, products=True)
    x = {"v0": rng.standard_normal((3, 4), np.float32)}
    (expected,) = ReferenceEvaluator(model).run(None, x)
    monkeypatch.setattr(fusion, "MAX_EXPRESSIONS", 2)
    monkeypatch.setattr("sardonyx.runtime.program_cache.opened_folder", lambda *_: None)
    session = sardonyx.Session(model, threads=1)
    np.testing.assert_allclose(session.run(None, x)[0], expected, atol=1e-6)
    assert len(session.engine.program.steps) > 30


@pytest.mark.parametrize("attributes", [{"axis": 0}, {"axis": 0, "block_size": 1}])
def test_what_is_read_along_an_axis_is_no_member_of_the_group(rng, attributes):
    """The scale has the shape of the result, but its elements belong to an axis or to blocks."""
    shape = (4,) if len(attributes) == 1 else (4, 3)
    nodes = [
        oh.make_node("Exp", ["v"], ["scale"]),
        oh.make_node("DequantizeLinear", ["q", "scale"], ["x"], **attributes),
        oh.make_node("QuantizeLinear", ["x", "scale"], ["y"], **attributes),
    ]
    ports = [oh.make_tensor_value_info("v", 1, shape), oh.make_tensor_value_info("q", 2, shape)]
    results = [oh.make_tensor_value_info("y", 2, shape)]
    graph = oh.make_graph(nodes, "own scale", ports, results)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    given = {"v": rng.standard_normal(shape, np.float32), "q": rng.integers(0, 9, shape, np.uint8)}
    (y,) = sardonyx.Session(model, threads=1, optimize="none").run(None, given)
    np.testing.assert_array_equal(y, given["q"])
