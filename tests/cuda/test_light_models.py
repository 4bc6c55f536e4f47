"""Real networks in the simulator, at small sizes and with fewer channels, against onnxruntime."""

import numpy as np
import onnx
import pytest
import sardonyx
from sardonyx.tools import zoo
from sardonyx.tools.cuda_cases.networks import Network
from sardonyx.tools.cuda_cases.runs import floats, model_of
from sardonyx.tools.cuda_check.encoders import Sizes, bert, vit

from .reduced import opened, smallest

IMAGES = {
    "squeezenet": (1, 3, 32, 32), "mobilenet_v2": (1, 3, 8, 8), "resnet18": (1, 3, 8, 8),
    "ocr_cls": (1, 3, 48, 48), "ocr_det": (1, 3, 32, 32),
}  # fmt: skip


def compare(data, feeds):
    wanted = opened(data).run(None, feeds)
    session = sardonyx.Session(data, device="cuda")
    for a, b in zip(session.run(None, feeds), wanted, strict=True):
        assert a.shape == b.shape
        assert np.abs(b).max() > 0
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * np.abs(b).max())


@pytest.mark.parametrize("name", IMAGES)
def test_networks_of_images(name):
    try:
        model = onnx.load(zoo.model(name))
    except zoo.Unavailable as reason:
        pytest.skip(str(reason))
    weights = {each.name for each in model.graph.initializer}
    [port] = (port for port in model.graph.input if port.name not in weights)
    for size, dim in zip(IMAGES[name], port.type.tensor_type.shape.dim, strict=True):
        dim.dim_value = size
    feeds = {port.name: np.random.default_rng(0).standard_normal(IMAGES[name], np.float32)}
    compare(smallest(model, feeds), feeds)


@pytest.mark.parametrize("make", [bert, vit])
def test_encoders(make):
    sizes = Sizes(layers=2, width=12, heads=3, length=5)
    model, feeds_of = make(sizes) if make is bert else make(sizes, 16, 8)
    compare(model.SerializeToString(), feeds_of(2))


def test_a_recognizer_of_sequences():
    net, size = Network(), 6
    x, depth = "x", 5
    for _ in range(2):
        weights = [net.drawn(2, 4 * size, n) for n in (depth, size)]
        x = net("LSTM", x, *weights, net.drawn(2, 8 * size), hidden_size=size,
                direction="bidirectional", outputs=3)[0]  # fmt: skip
        x = net("Reshape", net("Transpose", x, perm=[0, 2, 1, 3]), net.weight(np.array([0, 0, -1])))
        depth = 2 * size
    net("LogSoftmax", net.linear(x, depth, 4), axis=-1)
    feeds = {"x": floats(7, 2, 5)}
    model = model_of(net.nodes, feeds, net.weights, opset=22)
    compare(model.SerializeToString(), feeds)
