"""Products of two quantized activations multiply integers, for sessions only."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node

F32 = np.float32


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("left", "right"),
    [([2, 3, 5, 7], [2, 3, 7, 6]), ([2, 4, 8], [8, 9]), ([3, 5, 4], [1, 4, 6]), ([4, 6], [6])],
)
def test_products_of_activations(kind, left, right):
    """Scores and weighted values of attention: matrices, batches of them, and vectors."""
    rng = np.random.default_rng(len(left))
    zero = np.array(97 if kind == np.uint8 else -5, kind)
    nodes = [
        make_node("DequantizeLinear", ["a", "s", "zero"], ["fa"]),
        make_node("DequantizeLinear", ["b", "t", "zero"], ["fb"]),
        make_node("MatMul", ["fa", "fb"], ["y"]),
    ]
    arrays = {"s": F32(0.05), "t": np.array([0.02], F32).reshape(()), "zero": zero}
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info(n, element, s) for n, s in (("a", left), ("b", right))],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    feeds = {
        name: rng.integers(0, 256, shape).astype(np.uint8).view(kind)
        for name, shape in (("a", left), ("b", right))
    }
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    session = sardonyx.Session(proto, threads=1)
    (expected,), (found,) = reference.run(None, feeds), session.run(None, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    assert any("MatMulInteger" in step.op_type for step in session.engine.program.steps)
    strict = sardonyx.Session(proto, threads=1, precision="strict")
    assert not any("MatMulInteger" in step.op_type for step in strict.engine.program.steps)
