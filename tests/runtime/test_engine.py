"""An engine runs a program; its contexts are lent to one run each, and bound when shapes change."""

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime.engine import Engine
from sardonyx.runtime.options import checked_options
from sardonyx.runtime.program_cache import open_program


def engine(*dims, threads=1) -> Engine:
    """Engine of y = softmax(relu(x))."""
    nodes = [oh.make_node("Relu", ["x"], ["a"]), oh.make_node("Softmax", ["a"], ["y"])]
    ports = [oh.make_tensor_value_info(name, 1, list(dims)) for name in "xy"]
    graph = oh.make_graph(nodes, "g", ports[:1], ports[1:])
    model = oh.make_model(graph, ir_version=9, opset_imports=[oh.make_opsetid("", 17)])
    _, options = checked_options(threads, "fp32", "all")
    return Engine(open_program(model.SerializeToString(), options), threads)


@pytest.fixture
def opened():
    return engine("M", "N")


def expected(x):
    e = np.exp(np.maximum(x, 0))
    return e / e.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("threads", [1, 2])
def test_all_outputs_are_returned_in_order(threads):
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    (y,) = engine("M", "N", threads=threads).run({"x": x})
    np.testing.assert_allclose(y, expected(x), rtol=1e-6)


def test_a_context_that_is_bound_to_the_shapes_is_preferred(opened):
    shapes = [((2, n),) for n in (3, 4, 5)]
    with opened.context(shapes[0]) as a, opened.context(shapes[1]) as b:
        assert a is not b
    for shape, context in ((shapes[0], a), (shapes[1], b), (shapes[0], a)):
        with opened.context(shape) as borrowed:
            assert borrowed is context
    with opened.context(shapes[2]) as borrowed:  # bound anew: no run needs a third one
        assert borrowed in (a, b)
        assert borrowed.binding.shapes == shapes[2]


def test_a_context_is_idle_again_after_an_error(opened):
    for feeds in ({"x": np.zeros((2, 3, 4), np.float32)}, {"x": np.zeros(3, np.float32)}):
        with pytest.raises(sardonyx.InvalidArgument, match="expected 2 dimensions"):
            opened.run(feeds)
    assert len(opened.idle) == 1
    assert opened.run({"x": np.zeros((2, 3), np.float32)})[0].shape == (2, 3)
    opened.shrink()
    assert opened.idle == []


def test_a_trace_has_the_values_of_all_steps(opened):
    x = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
    traced = opened.trace({"x": x})
    np.testing.assert_allclose(traced["y"], expected(x), rtol=1e-6)


def test_a_profile_has_the_shapes_of_what_the_steps_write(opened):
    x = np.zeros((3, 4), np.float32)
    profile = opened.profile({"x": x}, runs=2, warmup=0)
    assert all(step.shapes == ((3, 4),) for step in profile.steps)
    assert profile.steps[-1].outputs == ("y",)
    assert profile.total_ns.shape == (2,)


def test_sizes_beyond_64_bit_arithmetic_are_refused_by_name():
    nodes = [oh.make_node("Tile", ["x", "n"], ["y"], name="many")]
    repeats = onnx.numpy_helper.from_array(np.array([1 << 40], np.int64), "n")
    x, y = oh.make_tensor_value_info("x", 1, ["N"]), oh.make_tensor_value_info("y", 1, None)
    graph = oh.make_graph(nodes, "g", [x], [y], [repeats])
    model = oh.make_model(graph, ir_version=9, opset_imports=[oh.make_opsetid("", 17)])
    session = sardonyx.Session(model, threads=1)
    with pytest.raises(sardonyx.InvalidArgument, match=r"many.*'y' has more than 7\d+ elements"):
        session(np.zeros(1 << 7, np.float32))
