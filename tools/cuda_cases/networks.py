"""Small networks of the usual kinds: the GPU runs all of their steps."""

import numpy as np
from onnx import TensorProto, helper

from ...runtime.session import Session
from .runs import floats, kernels_elsewhere, model_of, on_gpu

node = helper.make_node


class Network:
    """Nodes and weights, layer by layer."""

    def __init__(self):
        self.nodes, self.weights = [], {}

    def weight(self, value):
        name = f"w{len(self.weights)}"
        self.weights[name] = np.asarray(value)
        return name

    def drawn(self, *shape, scale=0.4):
        return self.weight(floats(*shape, seed=len(self.weights)) * np.float32(scale))

    def __call__(self, operator, *inputs, outputs=1, **attributes):
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(node(operator, inputs, names, **attributes))
        return names[0] if outputs == 1 else names

    def linear(self, x, depth, width):
        return self("Add", self("MatMul", x, self.drawn(depth, width)), self.drawn(width))

    def same_as_cpu(self, feeds, dims=None, **options):
        model = model_of(self.nodes, feeds, self.weights, dims)
        session = on_gpu(model, **options)
        np.testing.assert_equal(kernels_elsewhere(session), [])
        wanted = Session(model.SerializeToString(), **options).run(None, feeds)
        for got, expected in zip(session.run(None, feeds), wanted, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)


def mobile_block(net, x, channels, width, out, stride):
    """Widen, convolve each channel, weigh the channels, narrow."""

    def normalized(x, count):
        ones = [net.weight(np.abs(floats(count, seed=i)) + 0.5) for i in (1, 2)]
        return net("BatchNormalization", x, ones[0], net.drawn(count), net.drawn(count), ones[1])

    h = normalized(net("Conv", x, net.drawn(width, channels, 1, 1)), width)
    h = net("HardSwish", h)
    h = net("Conv", h, net.drawn(width, 1, 3, 3), group=width, pads=[1, 1, 1, 1],
            strides=[stride] * 2)  # fmt: skip
    h = net("Clip", normalized(h, width), net.weight(np.float32(0)), net.weight(np.float32(6)))
    share = net("GlobalAveragePool", h)
    share = net("Relu", net("Conv", share, net.drawn(2, width, 1, 1), net.drawn(2)))
    share = net("HardSigmoid", net("Conv", share, net.drawn(width, 2, 1, 1)))
    h = net("Conv", net("Mul", h, share), net.drawn(out, width, 1, 1))
    return net("Add", x, h) if stride == 1 and channels == out else h


def case_a_mobile_network():
    net = Network()
    x = net("Conv", "x", net.drawn(4, 3, 3, 3), net.drawn(4), strides=[2, 2], pads=[1, 1, 1, 1])
    x = mobile_block(net, x, 4, 6, 4, 1)
    x = mobile_block(net, x, 4, 5, 3, 2)
    x = net("Flatten", net("GlobalAveragePool", x))
    net("Softmax", net("Gemm", x, net.drawn(3, 5), net.drawn(5)))
    net.same_as_cpu({"x": floats(2, 3, 9, 8)}, {"x": ["n", 3, "height", "width"]})


def attention(net, x, mask, size, heads):
    """Write attention by nodes, as exporters do."""

    def split(x, order):
        shape = net.weight(np.array([0, 0, heads, size // heads]))
        return net("Transpose", net("Reshape", x, shape), perm=order)

    q, k, v = (net.linear(x, size, size) for _ in range(3))
    scores = net("MatMul", split(q, (0, 2, 1, 3)), split(k, (0, 2, 3, 1)))
    scores = net("Div", scores, net.weight(np.float32(np.sqrt(size // heads))))
    shares = net("Softmax", net("Add", scores, mask))
    h = net("Transpose", net("MatMul", shares, split(v, (0, 2, 1, 3))), perm=(0, 2, 1, 3))
    return net.linear(net("Reshape", h, net.weight(np.array([0, 0, size]))), size, size)


def normalized(net, x, size):
    """Write layer normalization by nodes, as exporters do."""
    axes = net.weight(np.array([-1]))
    centered = net("Sub", x, net("ReduceMean", x, axes))
    variance = net("ReduceMean", net("Pow", centered, net.weight(np.float32(2))), axes)
    root = net("Sqrt", net("Add", variance, net.weight(np.float32(1e-5))))
    scaled = net("Mul", net("Div", centered, root), net.drawn(size, scale=1))
    return net("Add", scaled, net.drawn(size))


def case_an_encoder_of_text():
    net, size = Network(), 8
    x = net("Gather", net.drawn(11, size, scale=1), "tokens")
    length = net("Shape", "tokens", start=1, end=2)
    places = net("Slice", net.drawn(16, size), net.weight(np.array([0])), length)
    x = normalized(net, net("Add", x, places), size)
    axes = net.weight(np.array([1, 2]))
    mask = net("Cast", net("Unsqueeze", "mask", axes), to=TensorProto.FLOAT)
    mask = net("Sub", net.weight(np.float32(1)), mask)
    mask = net("Mul", mask, net.weight(np.float32(-1e4)))
    for _ in range(2):
        x = normalized(net, net("Add", x, attention(net, x, mask, size, 2)), size)
        h = net.linear(x, size, 12)
        erf = net("Erf", net("Div", h, net.weight(np.float32(np.sqrt(2)))))
        h = net("Mul", h, net("Add", erf, net.weight(np.float32(1))))
        h = net("Mul", h, net.weight(np.float32(0.5)))
        x = normalized(net, net("Add", x, net.linear(h, 12, size)), size)
    first = net("Gather", x, net.weight(np.array(0)), axis=1)
    net("Tanh", net.linear(first, size, size))
    tokens = np.random.default_rng(0).integers(0, 11, (2, 5))
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    net.same_as_cpu({"tokens": tokens, "mask": mask},
                    {"tokens": ["n", "length"], "mask": ["n", "length"]})  # fmt: skip


def case_a_detector():
    """Scales of features joined, boxes ranked and picked."""
    net = Network()
    fine = net("LeakyRelu", net("Conv", "x", net.drawn(4, 3, 3, 3), pads=[1, 1, 1, 1]))
    half = net("MaxPool", fine, kernel_shape=[2, 2], strides=[2, 2])
    coarse = net("Conv", half, net.drawn(4, 4, 3, 3), pads=[1, 1, 1, 1])
    coarse = net("Mul", coarse, net("Sigmoid", coarse))
    wide = net("Resize", coarse, "", net.weight(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    wider = net("ConvTranspose", coarse, net.drawn(4, 2, 2, 2), strides=[2, 2])
    both = net("Concat", fine, wide, wider, axis=1)
    h = net("Conv", both, net.drawn(6, 10, 1, 1), net.drawn(6))
    h = net("Reshape", net("Transpose", h, perm=(0, 2, 3, 1)), net.weight(np.array([0, -1, 6])))
    boxes, scores = net("Split", h, net.weight(np.array([4, 2])), axis=2, outputs=2)
    best = net("ReduceMax", net("Sigmoid", scores), net.weight(np.array([2])), keepdims=0)
    _, places = net("TopK", best, net.weight(np.array([3])), outputs=2)
    places = net("Unsqueeze", places, net.weight(np.array([2])))
    net("GatherND", boxes, places, batch_dims=1)
    net.same_as_cpu({"x": floats(1, 3, 6, 4)})
