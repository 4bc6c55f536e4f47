"""Frozen graphs, against TensorFlow 1's sessions."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "TensorFlow is not installed: pip install sardonyx[tensorflow]"
tf = pytest.importorskip("tensorflow", reason=WHY)
pytest.importorskip("tf2onnx", reason=WHY)
v1 = tf.compat.v1


def floats(rng, *shape):
    return rng.normal(0, 0.4, shape).astype(np.float32)


@pytest.fixture
def frozen(rng, tmp_path):
    """Give the file of a graph with two results, and a function that runs the graph."""
    with tf.Graph().as_default() as graph, v1.Session() as session:
        image = v1.placeholder(tf.float32, [None, 8, 8, 3], name="image")
        scale = v1.placeholder_with_default(np.float32(2), [], name="scale")
        kernel = v1.get_variable("kernel", initializer=floats(rng, 3, 3, 3, 4))
        x = tf.nn.relu(tf.nn.conv2d(image, kernel, 1, "SAME"), name="features")
        x = tf.reduce_mean(x, [1, 2], name="pooled") * scale
        weights = v1.get_variable("weights", initializer=floats(rng, 4, 5))
        tf.nn.softmax(tf.matmul(x, weights, name="logits"), name="scores")
        tf.split(x, 2, axis=1, name="halves")
        session.run(v1.global_variables_initializer())
        definition = v1.graph_util.convert_variables_to_constants(
            session, graph.as_graph_def(), ["scores", "halves"]
        )
        live = graph.as_graph_def().SerializeToString()
    path = tmp_path / "graph.pb"
    path.write_bytes(definition.SerializeToString())
    (tmp_path / "live.pb").write_bytes(live)

    def run(names, feeds):
        with tf.Graph().as_default() as graph, v1.Session() as session:
            tf.import_graph_def(definition, name="")
            full = lambda name: graph.get_tensor_by_name(name if ":" in name else name + ":0")  # noqa: E731
            fed = {full(name): value for name, value in feeds.items()}
            return session.run([full(name) for name in names], fed)

    return path, run


def check(model, run, names, **feeds):
    session = sardonyx.Session(model)
    assert [port.name for port in session.get_inputs()] == list(feeds)
    assert [port.name for port in session.get_outputs()] == names
    found = session.run(None, feeds)
    for one, wanted in zip(found, run(names, feeds), strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-4, atol=1e-5)


def test_what_is_found(frozen, rng):
    path, run = frozen
    model = sardonyx.load(path)
    assert [value.shape[0].value for value in model.graph.inputs] == ["batch"]
    check(model, run, ["scores", "halves", "halves:1"], image=floats(rng, 3, 8, 8, 3))


def test_what_is_named(frozen, rng):
    path, run = frozen
    image, scale = floats(rng, 2, 8, 8, 3), np.float32(3)
    model = sardonyx.load(path, outputs=["logits:0", "features"])
    check(model, run, ["logits:0", "features"], image=image)
    model = sardonyx.load(path, inputs=["scale", "image"], outputs=["scores"])
    check(model, run, ["scores"], scale=scale, image=image)


def test_cut_at_an_inner_node(frozen, rng):
    path, run = frozen
    model = sardonyx.load(path, inputs=["pooled"], outputs=["scores"])
    check(model, run, ["scores"], pooled=floats(rng, 6, 4))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"outputs": ["score"]}, r"'score' for outputs=.*'scores', 'halves', 'halves:1'"),
        ({"outputs": ["scores:1"]}, r"'scores:1' for outputs="),
        ({"outputs": []}, r"no outputs for outputs="),
        ({"inputs": ["img", "scale"]}, r"no 'img' for inputs=; its inputs are 'image'"),
        ({"inputs": ["scale"], "outputs": ["scores"]}, r"need 'image' too"),
        ({"inputs": ["image", "logits"], "outputs": ["features"]}, r"not depend on 'logits'"),
        ({"inputs": ["halves:1"], "outputs": ["scores"]}, r"halves:1 is one of several results"),
        ({"signature": "serving_default"}, r"signature= is no option for the format frozen graph"),
    ],
)
def test_wrong_names(frozen, options, message):
    with pytest.raises(sardonyx.InvalidArgument, match=message):
        sardonyx.load(frozen[0], **options)


def test_graphs_with_variables(frozen):
    with pytest.raises(sardonyx.InvalidArgument, match=r"live\.pb is not frozen: 'kernel'"):
        sardonyx.load(frozen[0].with_name("live.pb"))


def test_the_graph_of_a_saved_model(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(sardonyx.InvalidArgument, match=rf"load its folder, {tmp_path}"):
        sardonyx.load(tmp_path / "saved_model.pb")
    (tmp_path / "saved_model.pb").rename(tmp_path / "other.pb")
    with pytest.raises(sardonyx.InvalidArgument, match=r"other\.pb is the graph of a SavedModel"):
        sardonyx.load(tmp_path / "other.pb")


def test_damaged_files(frozen):
    path, _ = frozen
    data = path.read_bytes()
    for length in (0, 5, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:length])
        with pytest.raises(sardonyx.InvalidModel, match=r"graph\.pb"):
            sardonyx.load(path)
    path.write_bytes(b"not a graph, but text")
    with pytest.raises(sardonyx.InvalidModel, match=r"graph\.pb"):
        sardonyx.load(path)


def test_operators_that_nobody_knows(frozen):
    path, _ = frozen
    definition = v1.GraphDef.FromString(path.read_bytes())
    next(node for node in definition.node if node.op == "Relu").op = "MyRelu"
    path.write_bytes(definition.SerializeToString())
    with pytest.raises(sardonyx.ImportFailed, match=r"MyRelu.*load_op_library"):
        sardonyx.load(path)


def test_operators_that_onnx_lacks(tmp_path):
    with tf.Graph().as_default() as graph:
        x = v1.placeholder(tf.float32, [4], name="x")
        tf.raw_ops.Betainc(a=x, b=x, x=x, name="beta")
    path = tmp_path / "graph.pb"
    path.write_bytes(graph.as_graph_def().SerializeToString())
    with pytest.raises(sardonyx.UnsupportedModel, match=r"graph\.pb.*Betainc \(node 'beta'\)"):
        sardonyx.load(path)
