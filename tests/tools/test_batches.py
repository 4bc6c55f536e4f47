"""Models for one image, with a free batch dimension."""

import numpy as np
import onnx
import pytest
import sardonyx
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
from onnx.numpy_helper import from_array
from sardonyx.tools import batches

FLOAT = onnx.TensorProto.FLOAT


@pytest.mark.parametrize("version", [3, 8])
def test_weights_stay_constants(version):
    """Before IR version 4 they had to be inputs; later, such ones are defaults."""
    weights = {"w": np.ones((6, 4), np.float32), "shape": np.array([1, 6])}
    inputs = [make_tensor_value_info("x", FLOAT, [1, 2, 3])]
    if version < 4:
        inputs += [
            make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(w.dtype), w.shape)
            for name, w in weights.items()
        ]
    nodes = [make_node("Reshape", ["x", "shape"], ["r"]), make_node("MatMul", ["r", "w"], ["y"])]
    graph = make_graph(
        nodes, "g", inputs, [make_tensor_value_info("y", FLOAT, [1, 4])],
        [from_array(w, name) for name, w in weights.items()],
    )  # fmt: skip
    model = make_model(graph, opset_imports=[make_opsetid("", 13)], ir_version=version)
    assert batches.is_fixed(model)
    batches.free(model)
    assert not batches.is_fixed(model)
    assert [value.name for value in model.graph.input] == ["x"]
    x = np.arange(30, dtype=np.float32).reshape(5, 2, 3)
    (result,) = sardonyx.Session(model).run(None, {"x": x})
    np.testing.assert_allclose(result, np.repeat(x.sum((1, 2))[:, None], 4, 1))
