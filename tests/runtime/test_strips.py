"""Convolutions joined by strips of rows, against onnxruntime."""

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper
from sardonyx.kernels.costs import StreamCosts
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.kernels.target import target


class Net:
    """Builds a chain of convolutions."""

    def __init__(self, rng, channels, dims=("n", "h", "w")):
        self.rng, self.channels, self.last = rng, channels, "x"
        self.nodes, self.constants = [], []
        self.dims = [dims[0], channels, *dims[1:]]

    def conv(self, out_channels, kernel, *, group=1, epilogue=(), **attributes):
        shape = (out_channels, self.channels // group, kernel, kernel)
        scale = np.sqrt(shape[1] * kernel * kernel)
        name = f"c{len(self.nodes)}"
        self.constant(f"{name}.w", self.rng.standard_normal(shape) / scale)
        self.constant(f"{name}.b", self.rng.standard_normal(out_channels))
        inputs = [self.last, f"{name}.w", f"{name}.b"]
        self.node("Conv", inputs, group=group, kernel_shape=[kernel, kernel], **attributes)
        self.channels = out_channels
        for operator in epilogue:
            self.node(operator, [self.last])
        return self

    def depthwise(self, kernel, **more):
        return self.conv(self.channels, kernel, group=self.channels, **more)

    def add(self, name):
        self.node("Add", [self.last, name])
        return self

    def constant(self, name, array):
        self.constants.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))

    def node(self, operator, inputs, **attributes):
        self.last = f"y{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [self.last], **attributes))

    def model(self):
        info = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes, "chain", [info("x", TensorProto.FLOAT, self.dims)],
            [info(self.last, TensorProto.FLOAT, None)], self.constants,
        )  # fmt: skip
        opset = [helper.make_opsetid("", 22)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def check(model, x, joined=1):
    """Compare with onnxruntime at several numbers of threads; count the joined steps."""
    expected = onnxruntime.InferenceSession(model).run(None, {"x": x})[0]
    for threads in (1, 2, 3):
        session = sardonyx.Session(model, threads=threads)
        np.testing.assert_allclose(session(x), expected, rtol=1e-4, atol=2e-5)
        steps = session.profile({"x": x}, runs=1).steps
        assert sum("strips" in step.kernel for step in steps) == joined


def image(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("epilogue", [(), ("Relu",), ("Sigmoid",)])
def test_expand_depthwise_project(rng, kernel, stride, epilogue):
    net = Net(rng, 16).conv(72, 1, epilogue=epilogue)
    net.depthwise(kernel, pads=[kernel // 2] * 4, strides=[stride] * 2, epilogue=epilogue).conv(
        24, 1
    )
    for size in ((1, 40, 30), (2, 7, 9), (3, 1, 1), (1, 130, 64)):
        check(net.model(), image(rng, size[0], 16, *size[1:]))


def test_residual_and_what_follows(rng):
    net = Net(rng, 24).conv(96, 1, epilogue=("HardSwish",))
    net.depthwise(3, pads=[1] * 4, epilogue=("HardSwish",)).conv(24, 1).add("x")
    net.node("Tanh", [net.last])
    check(net.model(), image(rng, 2, 24, 33, 21))


def test_wide_first_convolution(rng):
    net = Net(rng, 3).conv(32, 3, strides=[2, 2], pads=[1] * 4, epilogue=("Relu",))
    net.depthwise(3, pads=[1] * 4, epilogue=("Relu",)).conv(16, 1)
    check(net.model(), image(rng, 2, 3, 57, 64))


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (2, 1, 0, 3), (0, 2, 2, 0)])
def test_borders_of_all_kinds(rng, pads):
    net = Net(rng, 8).conv(40, 1, epilogue=("Relu",))
    net.depthwise(3, pads=list(pads), dilations=[2, 1], epilogue=("Relu",))
    check(net.model(), image(rng, 1, 8, 29, 18))


def test_without_a_convolution_before(rng):
    net = Net(rng, 40).depthwise(3, pads=[1] * 4, epilogue=("Relu",)).conv(264, 1)
    check(net.model(), image(rng, 2, 40, 50, 31))


@pytest.mark.parametrize("dims", [("n", 32, 32), (1, "h", "w"), ("n", "h", "w"), (2, 32, 32)])
def test_a_gate_before_a_chain_of_open_sizes(rng, dims):
    """Weights that a gate scales are as many as images, whose number may be unknown."""
    net = Net(rng, 16, dims)
    net.node("GlobalAveragePool", ["x"])
    net.conv(16, 1).node("HardSigmoid", [net.last])
    net.node("Mul", ["x", net.last])
    net.conv(8, 1).depthwise(3, pads=[1] * 4)
    check(net.model(), image(rng, 2 if dims[0] != 1 else 1, 16, 32, 32), joined=int(dims[0] == 1))


def test_small_images_of_known_size_run_apart(rng):
    net = Net(rng, 16, (1, 14, 14)).conv(64, 1).depthwise(3, pads=[1] * 4).conv(16, 1)
    check(net.model(), image(rng, 1, 16, 14, 14), joined=0)


def test_what_is_read_twice_stays_in_memory(rng):
    net = Net(rng, 16).conv(64, 1)
    wide = net.last
    narrow = net.depthwise(3, pads=[1] * 4).conv(16, 1).last
    net.last, net.channels = wide, 64
    net.conv(16, 1).add(narrow)
    check(net.model(), image(rng, 1, 16, 30, 30), joined=1)


@pytest.mark.parametrize("epilogue", [(), ("Relu",)])
def test_a_depthwise_convolution_and_what_is_added_are_two_steps(rng, epilogue):
    """Its kernel adds no residual; as a convolution of many groups it takes ten times as long."""
    net = Net(rng, 16).conv(64, 1)
    wide = net.last
    net.depthwise(3, pads=[1] * 4).add(wide)
    for operator in epilogue:
        net.node(operator, [net.last])
    model, x = net.model(), image(rng, 1, 16, 30, 30)
    check(model, x, joined=0)
    steps = sardonyx.Session(model).profile({"x": x}, runs=1).steps
    assert sum("depthwise" in step.kernel for step in steps) == 1


@pytest.mark.parametrize(("far", "step", "joined"), [(2.0, 0.0, 1), (1.0, 0.0, 0), (2.0, 1e9, 0)])
def test_strips_pay_where_the_near_cache_saves_more_than_they_cost(rng, far, step, joined):
    """A map that only the third level holds costs no more where that is as fast as the second."""
    side = int((target().l2 / 64 / 4) ** 0.5) + 8
    net = Net(rng, 8, (1, side, side)).conv(64, 1).depthwise(3, pads=[1] * 4).conv(8, 1)
    costs = machine_costs()._replace(streams=StreamCosts(1.0, far, 2.0, 1.0, 2.0), step=step)
    with costs_given(costs):
        check(net.model(), image(rng, 1, 8, side, side), joined)
