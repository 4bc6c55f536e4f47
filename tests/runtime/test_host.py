"""Operators on the host that onnx's reference implementation gets wrong, against onnxruntime."""

import numpy as np
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper

KINDS = {np.float32: TensorProto.FLOAT, np.int8: TensorProto.INT8, np.uint8: TensorProto.UINT8}


def pooled(x, outputs, **attributes):
    node = helper.make_node("MaxPool", ["x"], ["y", "i"][:outputs], **attributes)
    ports = [helper.make_tensor_value_info("y", KINDS[x.dtype.type], None)]
    ports += [helper.make_tensor_value_info("i", TensorProto.INT64, None)][: outputs - 1]
    given = [helper.make_tensor_value_info("x", KINDS[x.dtype.type], x.shape)]
    graph = helper.make_graph([node], "pool", given, ports)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10
    ).SerializeToString()
    expected = onnxruntime.InferenceSession(model).run(None, {"x": x})
    for a, b in zip(sardonyx.Session(model).run(None, {"x": x}), expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [1, 1, 1]},
        {"kernel_shape": [2, 2, 2], "strides": [2, 2, 2]},
        {"kernel_shape": [3, 3, 3], "pads": [1, 1, 1, 1, 1, 1]},
        {"kernel_shape": [3, 2, 3], "strides": [2, 1, 3], "ceil_mode": 1},
        {"kernel_shape": [2, 3, 2], "strides": [2, 2, 2], "pads": [1, 0, 1, 0, 1, 1]},
        {"kernel_shape": [2, 2, 3], "dilations": [2, 1, 2]},
        {"kernel_shape": [3, 3, 3], "strides": [2, 2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [2, 3, 2], "strides": [2, 2, 1], "auto_pad": "SAME_LOWER"},
    ],
)
@pytest.mark.parametrize("outputs", [1, 2])
def test_maxima_of_volumes(rng, attributes, outputs):
    pooled(rng.standard_normal((2, 3, 6, 7, 8)).astype(np.float32), outputs, **attributes)


def test_indices_that_run_down_columns(rng):
    x = rng.standard_normal((2, 3, 5, 6)).astype(np.float32)
    pooled(x, 2, kernel_shape=[3, 2], strides=[2, 2], storage_order=1)


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_maxima_of_bytes(rng, kind):
    limits = np.iinfo(kind)
    x = rng.integers(limits.min, limits.max, (2, 3, 9, 10), endpoint=True).astype(kind)
    x[0, 0] = limits.min
    pooled(x, 1, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    pooled(x, 2, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
