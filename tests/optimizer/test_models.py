"""Real models: nodes left, and equal results in onnxruntime."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from sardonyx.importers import load
from sardonyx.optimizer import optimize
from sardonyx.tools import zoo

# Nodes that onnxslim 0.1.98 leaves, Constants not counted.
ONNXSLIM = {
    "bvlc_alexnet": 22,
    "densenet121": 491,
    "inception_v1": 142,
    "inception_v2": 164,
    "resnet50": 123,
    "shufflenet": 154,
    "squeezenet": 65,
    "vgg19": 44,
    "zfnet512": 22,
    "mobilenet_v2": 100,
    "mobilenet_v3": 140,
    "efficientnet_b0": 239,
    "resnet18": 49,
    "unet": 49,
    "yolo": 236,
    "ocr_cls": 179,
    "ocr_det": 241,
    "ocr_rec": 280,
    "basic_pitch": 241,
    "magika": 93,
    "mnist": 8,
    "silero": 2,
    "silero_16k_op15": 52,
    "silero_16k_sequence": 25,
    "silero_half": 49,
    "silero_ifless": 4,
    "silero_openvino": 36,
}
SHAPES = {"ocr_det": (1, 3, 96, 160), "ocr_rec": (2, 3, 48, 96), "ocr_cls": (2, 3, 48, 192)}


def run(model, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, feeds)


@pytest.mark.parametrize("name", ONNXSLIM)
def test_no_more_nodes_than_onnxslim_and_equal_results(zoo_model, name):
    path = zoo_model(name)
    model = optimize(load(path))
    assert len(model.graph) <= ONNXSLIM[name]
    rng = np.random.default_rng(6)
    feeds = zoo.inputs(name, rng)
    if name in SHAPES:
        feeds = {"x": rng.standard_normal(SHAPES[name]).astype(np.float32)}
    elif name == "magika":
        feeds = {"bytes": rng.integers(0, 256, (2, 2048)).astype(np.int32)}
    expected = run(str(path), feeds)
    results = run(ir.to_proto(model).SerializeToString(), feeds)
    for a, b in zip(results, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        scale = np.abs(b).max(initial=0.0)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 + 1e-4 * scale)
