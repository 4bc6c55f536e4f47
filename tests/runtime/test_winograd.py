"""Winograd's form: the convolutions that take it, and whole models against onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.runtime.ops import winograd, winograd_costs

pytestmark = pytest.mark.usefixtures("by_vectors", "lowered_anew")


def model(shape, weights, *, epilogue=(), **attributes):
    channels = weights.shape[0]
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y0"], **attributes)]
    for i, operator in enumerate(epilogue):
        nodes.append(helper.make_node(operator, [f"y{i}"], [f"y{i + 1}"]))
    graph = helper.make_graph(
        nodes,
        "conv",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(f"y{len(epilogue)}", TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(weights, "w"),
            onnx.numpy_helper.from_array(np.linspace(-1, 1, channels, dtype=np.float32), "b"),
        ],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10
    ).SerializeToString()


def kernels(session, x):
    return [step.kernel for step in session.profile({"x": x}, runs=1).steps]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("epilogue", [(), ("Relu",), ("Sigmoid", "Neg")])
@pytest.mark.parametrize("sizes", [(1, 24, 24), (2, 9, 40), (3, 5, 5)])
def test_any_size_of_a_dynamic_model(rng, epilogue, sizes, stride):
    weights = rng.standard_normal((96, 64, 3, 3)).astype(np.float32) / 24
    made = model(
        ["n", 64, "h", "w"], weights, epilogue=epilogue, pads=[1] * 4, strides=[stride] * 2
    )
    x = rng.standard_normal((sizes[0], 64, *sizes[1:])).astype(np.float32)
    session = sardonyx.Session(made, threads=2)
    assert any("winograd" in kernel for kernel in kernels(session, x))
    expected = onnxruntime.InferenceSession(made).run(None, {"x": x})[0]
    np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=1e-5)


def taken(session, x):
    """Kernels of the steps that a run does not pass by."""
    steps = session.profile({"x": x}, runs=1).steps
    return {step.kernel for step in steps if step.times_ns.any()}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_takes_the_form_that_costs_less_at_its_sizes(rng, threads):
    weights = rng.standard_normal((128, 128, 3, 3)).astype(np.float32) / 24
    made = model(["n", 128, "h", "w"], weights, epilogue=("Relu", "Neg"), pads=[1] * 4)
    session = sardonyx.Session(made, threads=threads)
    other = onnxruntime.InferenceSession(made)
    for sizes, is_direct in (((1, 2, 2), 1), ((1, 40, 40), 0), ((1, 4, 1), 1), ((90, 4, 4), 0)):
        x = rng.standard_normal((sizes[0], 128, *sizes[1:])).astype(np.float32)
        expected = other.run(None, {"x": x})[0]
        np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=1e-5)
        forms = [kernel for kernel in taken(session, x) if "conv" in kernel or "winograd" in kernel]
        assert len(forms) == 1 and ("winograd" not in forms[0]) == is_direct
    (name,) = session.engine.program.metadata["forms"]
    asked = sardonyx.Session(made, threads=threads, choices={name: "winograd 4x4"})
    assert any("winograd" in kernel for kernel in taken(asked, x[:1]))
    assert len(asked.engine.program.steps) < len(session.engine.program.steps)


def test_a_pooling_that_the_step_takes_over_settles_its_form(rng):
    weights = rng.standard_normal((128, 128, 3, 3)).astype(np.float32) / 24
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("MaxPool", ["a"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes, "pooled",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 128, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 22)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    session = sardonyx.Session(made, threads=1)
    for size in (4, 30):
        x = rng.standard_normal((1, 128, size, size)).astype(np.float32)
        expected = onnxruntime.InferenceSession(made).run(None, {"x": x})[0]
        np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=1e-5)
    assert sum("winograd" in kernel for kernel in kernels(session, x)) == 1
    assert not any("conv" in kernel for kernel in kernels(session, x))


@pytest.mark.parametrize(("taps", "stride", "size"), [(5, 1, 300), (3, 2, 1500)])
def test_images_one_pixel_wide(rng, taps, stride, size):
    """Columns are turned to rows, and their windows with them."""
    weights = rng.standard_normal((128, 128, taps, 1)).astype(np.float32) / 24
    pads = [taps // 2, 0, taps // 2, 0]
    made = model([1, 128, size, 1], weights, pads=pads, strides=[stride, 1])
    x = rng.standard_normal((1, 128, size, 1)).astype(np.float32)
    session = sardonyx.Session(made)
    assert any("winograd" in kernel for kernel in kernels(session, x))
    expected = onnxruntime.InferenceSession(made).run(None, {"x": x})[0]
    np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "window", "attributes"),
    [
        ((64, 64, 3, 3), "strict", {"pads": [1, 1, 1, 1]}),
        ((64, 64, 3, 3), "strict", {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
        ((64, 64, 3, 3), "fp32", {"pads": [1, 1, 1, 1], "strides": [3, 3]}),
        ((64, 64, 3, 3), "fp32", {"pads": [2, 2, 2, 2], "dilations": [2, 2]}),
        ((64, 64, 1, 1), "fp32", {}),
        ((64, 64, 7, 7), "fp32", {}),
    ],
)
def test_left_to_the_direct_sum(rng, shape, window, attributes):
    weights = rng.standard_normal(shape).astype(np.float32) / 24
    made = model([1, shape[1], 28, 28], weights, **attributes)
    x = rng.standard_normal((1, shape[1], 28, 28)).astype(np.float32)
    session = sardonyx.Session(made, precision=window)
    assert not any("winograd" in kernel for kernel in kernels(session, x))
    expected = onnxruntime.InferenceSession(made).run(None, {"x": x})[0]
    np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=1e-5)


def test_groups_and_a_residual_of_stride_two(rng):
    """Two groups, images of odd sizes, and the sum with another map in the same step."""
    shape, tensor = (2, 128, 33, 47), helper.make_tensor_value_info
    weights = rng.standard_normal((192, 64, 3, 3)).astype(np.float32) / 24
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], strides=[2, 2], pads=[1, 1, 1, 1], group=2),
        helper.make_node("Add", ["a", "r"], ["b"]),
        helper.make_node("Relu", ["b"], ["y"]),
    ]
    values = [
        tensor("x", TensorProto.FLOAT, shape),
        tensor("r", TensorProto.FLOAT, (2, 192, 17, 24)),
    ]
    graph = helper.make_graph(
        nodes, "sum", values, [tensor("y", TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(weights, "w")],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 22)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    feeds = {
        "x": rng.standard_normal(shape).astype(np.float32),
        "r": rng.standard_normal((2, 192, 17, 24)).astype(np.float32),
    }
    session = sardonyx.Session(made, threads=2)
    (expected,) = onnxruntime.InferenceSession(made).run(None, feeds)
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, rtol=1e-4, atol=1e-5)
    assert any("winograd" in step.kernel for step in session.profile(feeds, runs=1).steps)


def test_cost_prefers_small_weights_for_few_pixels():
    assert winograd.choose((3, 3), (1, 56, 56), 64, 64, 1) == (4, 4)
    assert winograd.choose((3, 3), (1, 7, 7), 512, 512, 1) != (4, 4)
    assert winograd.choose((3, 3), (1, 224, 224), 3, 8, 1) is None
    assert winograd.choose((7, 7), (1, 56, 56), 64, 64, 1) is None
    assert winograd.choose((3, 3), (1, 40, 40), 64, 128, 1, (2, 2)) == (4, 4)
    assert winograd.choose((3, 3), (1, 3, 3), 512, 512, 1, (2, 2)) is None
    assert winograd.choose((3, 3), (1, 160, 160), 4, 16, 1, (2, 2)) is None


def test_points_of_a_tap_share_their_weights():
    """Along an axis F(4, 2) has 5 matrices, and one serves all points of the component of a tap."""
    assert winograd_costs.count_matrices((4, 4), (3, 3), (1, 1)) == 36
    assert winograd_costs.count_matrices((4, 4), (3, 3), (2, 2)) == (5 + 1) ** 2
    assert winograd.counts((4, 4), (3, 3), (2, 2))[0] == (5 + 4) ** 2


def test_a_single_tile_waits_for_its_weights():
    """What weights cost beside products decides about forms whose panels meet one tile."""
    costs = machine_costs()
    for weights in (0.0, 2.0):
        with costs_given(costs._replace(streams=costs.streams._replace(weights=weights))):
            own = winograd_costs.Layer((3, 3), (1, 1), 512, 512)
            single, many = own.by_tiles((4, 4), 1), own.by_tiles((4, 4), 1000)
        assert many.least == pytest.approx(36 * 512 * 512 * 4 * costs.streams.memory)
        assert single.once - many.once == pytest.approx(36 * 512 * 512 * 4 * weights)
        assert single.least == 0.0
    assert winograd.choose((3, 3), (1, 56, 56), 64, 64, 1) == (4, 4)
