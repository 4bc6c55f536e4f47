"""Models as CNTK exported them: opset 7 to 9, weights among the inputs, axes for sequences."""

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper, numpy_helper
from sardonyx.tools import zoo
from sardonyx.tools.digits import digits


def reference(model, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options).run(None, feeds)


def in_cntk_style(nodes, inputs, outputs, weights, opset):
    """Weights are inputs, too, and open dimensions are called as CNTK calls them."""
    arrays = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n, dims in inputs]
    ports += [helper.make_tensor_value_info(a.name, a.data_type, a.dims) for a in arrays]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n, dims in outputs]
    graph = helper.make_graph(nodes, "CNTKGraph", ports, results, arrays)
    model = helper.make_model(
        graph, producer_name="CNTK", opset_imports=[helper.make_opsetid("", opset)], ir_version=3
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def test_digits_are_recognized_as_by_onnxruntime():
    try:
        images, labels = digits()
        path = str(zoo.with_free_batch("mnist"))
    except zoo.Unavailable as reason:
        pytest.skip(str(reason))
    session = sardonyx.Session(path)
    (name,) = (port.name for port in session.get_inputs())
    hits = expected_hits = 0
    for at in range(0, len(images), 500):
        feeds = {name: images[at : at + 500, None] * 255}
        (found,), (expected,) = session.run(None, feeds), reference(path, feeds)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())
        hits += (found.argmax(1) == labels[at : at + 500]).sum()
        expected_hits += (expected.argmax(1) == labels[at : at + 500]).sum()
    assert hits == expected_hits == 9934


@pytest.mark.parametrize("sizes", [(1, 1), (7, 1), (3, 4)])
def test_a_sequence_and_its_batch(rng, sizes):
    """Sequences come first, then their batch, as of an LSTM's input; both are open."""
    features, hidden, classes = 6, 5, 3
    weights = {
        "W": rng.standard_normal((1, 4 * hidden, features)).astype(np.float32),
        "R": rng.standard_normal((1, 4 * hidden, hidden)).astype(np.float32),
        "B": rng.standard_normal((1, 8 * hidden)).astype(np.float32),
        "T": rng.standard_normal((hidden, classes)).astype(np.float32),
        "b": rng.standard_normal(classes).astype(np.float32),
    }
    nodes = [
        helper.make_node("LSTM", ["Input3", "W", "R", "B"], ["y"], hidden_size=hidden),
        helper.make_node("Squeeze", ["y"], ["flat"], axes=[1]),
        helper.make_node("MatMul", ["flat", "T"], ["Times30"]),
        helper.make_node("Add", ["Times30", "b"], ["Plus32"]),
        helper.make_node("Softmax", ["Plus32"], ["Softmax35"], axis=2),
    ]
    model = in_cntk_style(
        nodes,
        [("Input3", ["Sequence", "FreeDimension", features])],
        [("Softmax35", ["Sequence", "FreeDimension", classes])],
        weights,
        9,
    )
    feeds = {"Input3": rng.standard_normal((*sizes, features)).astype(np.float32)}
    (found,) = sardonyx.Session(model).run(None, feeds)
    np.testing.assert_allclose(found, reference(model, feeds)[0], rtol=1e-4, atol=1e-6)


def test_reshapes_around_products_and_broadcasts_of_channels(rng):
    """Parameters of (channels, 1, 1), and a weight that is reshaped when the model runs."""
    weights = {
        "Parameter5": rng.standard_normal((4, 2, 3, 3)).astype(np.float32),
        "Parameter6": rng.standard_normal((4, 1, 1)).astype(np.float32),
        "Parameter193": rng.standard_normal((4, 8, 8, 3)).astype(np.float32),
        "Parameter193_shape": np.array([256, 3], np.int64),
        "Pooling_shape": np.array([1, 256], np.int64),
        "Parameter194": rng.standard_normal((1, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["Input3", "Parameter5"], ["c"], auto_pad="SAME_UPPER",
                         kernel_shape=[3, 3], strides=[1, 1], dilations=[1, 1], group=1),
        helper.make_node("Add", ["c", "Parameter6"], ["Plus"]),
        helper.make_node("Relu", ["Plus"], ["ReLU"]),
        helper.make_node("MaxPool", ["ReLU"], ["Pooling"], auto_pad="NOTSET",
                         kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0]),
        helper.make_node("Reshape", ["Pooling", "Pooling_shape"], ["row"]),
        helper.make_node("Reshape", ["Parameter193", "Parameter193_shape"], ["matrix"]),
        helper.make_node("MatMul", ["row", "matrix"], ["Times"]),
        helper.make_node("Add", ["Times", "Parameter194"], ["Plus214"]),
    ]  # fmt: skip
    model = in_cntk_style(nodes, [("Input3", [1, 2, 16, 16])], [("Plus214", [1, 3])], weights, 8)
    feeds = {"Input3": rng.standard_normal((1, 2, 16, 16)).astype(np.float32)}
    (found,) = sardonyx.Session(model).run(None, feeds)
    expected = reference(model, feeds)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * abs(expected).max())
