"""TensorFlow functions and SavedModels, against TensorFlow."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "TensorFlow is not installed: pip install sardonyx[tensorflow]"
tf = pytest.importorskip("tensorflow", reason=WHY)
pytest.importorskip("tf2onnx", reason=WHY)


class Network(tf.Module):
    """A convolution and a product, with a second signature."""

    def __init__(self, rng):
        super().__init__()
        self.kernel = tf.Variable(rng.standard_normal((3, 3, 2, 4)).astype(np.float32))
        self.weights = tf.Variable(rng.standard_normal((4, 3)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 2], tf.float32, name="image")])
    def __call__(self, image):
        x = tf.nn.relu(tf.nn.conv2d(image, self.kernel, 1, "SAME"))
        x = tf.reduce_mean(x, [1, 2])
        return {"scores": tf.nn.softmax(x @ self.weights), "mean": x}

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def product(self, x):
        return x @ self.weights


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def check(model, wanted, **feeds):
    session = sardonyx.Session(model)
    assert [port.name for port in session.get_inputs()] == list(feeds)
    assert [port.name for port in session.get_outputs()] == list(wanted)
    for name, found in zip(wanted, session.run(None, feeds), strict=True):
        np.testing.assert_allclose(found, wanted[name], rtol=1e-4, atol=1e-5)


def test_modules_and_functions(rng):
    network = Network(rng)
    for batch in (1, 3):
        x = floats(rng, batch, 8, 8, 2)
        wanted = dict(sorted(network(x).items()))
        check(sardonyx.load(network), wanted, image=x)
        check(sardonyx.load(network.__call__.get_concrete_function()), wanted, image=x)


def test_saved_models_by_signature(rng, tmp_path):
    network = Network(rng)
    signatures = {"serving_default": network.__call__, "product": network.product}
    tf.saved_model.save(network, str(tmp_path), signatures=signatures)
    x = floats(rng, 2, 8, 8, 2)
    check(sardonyx.load(tmp_path), dict(sorted(network(x).items())), image=x)
    y = floats(rng, 5, 4)
    model = sardonyx.load(tmp_path, signature="product")
    check(model, {"output_0": network.product(y)}, x=y)
    with pytest.raises(sardonyx.InvalidArgument, match=r"'other', only .*product"):
        sardonyx.load(tmp_path, signature="other")


def test_functions_without_a_signature_need_examples(rng):
    @tf.function
    def scaled(a, b):
        return a * b[:, :1]

    a, b = floats(rng, 2, 5), floats(rng, 2, 3)
    with pytest.raises(sardonyx.InvalidArgument, match="example_inputs"):
        sardonyx.load(scaled)
    model = sardonyx.load(scaled, example_inputs=(a, b))
    assert [value.shape[0].value for value in model.graph.inputs] == ["batch", "batch"]
    more_a, more_b = floats(rng, 7, 5), floats(rng, 7, 3)
    check(model, {"output": more_a * more_b[:, :1]}, a=more_a, b=more_b)


def test_a_real_model_of_an_older_keras(zoo_model, rng):
    path = zoo_model("basic_pitch")
    x = floats(rng, 1, 43844, 1)
    wanted = dict(zip(["note", "onset", "contour"], range(3), strict=True))
    found = sardonyx.Session(sardonyx.load(path.with_suffix("")))
    results = dict(
        zip(
            [p.name for p in found.get_outputs()],
            found.run(None, {found.get_inputs()[0].name: x}),
            strict=True,
        )
    )
    peer = sardonyx.Session(path)
    names = {
        "note": "StatefulPartitionedCall:1",
        "onset": "StatefulPartitionedCall:2",
        "contour": "StatefulPartitionedCall:0",
    }
    for name in wanted:
        (other,) = peer.run([names[name]], {peer.get_inputs()[0].name: x})
        np.testing.assert_allclose(results[name], other, rtol=1e-4, atol=1e-5)


def test_signatures_are_chosen_or_listed(rng, tmp_path):
    network = Network(rng)
    several = {"image": network.__call__, "product": network.product}
    tf.saved_model.save(network, str(tmp_path / "two"), signatures=several)
    with pytest.raises(sardonyx.InvalidArgument, match=r"signature=, of \['image', 'product'\]"):
        sardonyx.load(tmp_path / "two")
    tf.saved_model.save(network, str(tmp_path / "one"), signatures={"only": network.product})
    y = floats(rng, 5, 4)
    check(sardonyx.load(tmp_path / "one"), {"output_0": network.product(y)}, x=y)
    tf.saved_model.save(tf.Module(), str(tmp_path / "none"))
    with pytest.raises(sardonyx.InvalidArgument, match="has no signature: save it with"):
        sardonyx.load(tmp_path / "none")


def test_what_cannot_be_imported(rng, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(sardonyx.ImportFailed, match="broken"):
        sardonyx.load(tmp_path / "broken")
    (tmp_path / "empty").mkdir()
    with pytest.raises(sardonyx.InvalidArgument, match=r"empty is a folder, but no SavedModel"):
        sardonyx.load(tmp_path / "empty")
    tf.saved_model.save(Network(rng), str(tmp_path / "cut"))
    (tmp_path / "cut" / "variables" / "variables.index").unlink()
    with pytest.raises(sardonyx.ImportFailed, match="variables"):
        sardonyx.load(tmp_path / "cut")


def test_operators_that_onnx_lacks_are_named():
    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32, name="x")])
    def function(x):
        return tf.raw_ops.Betainc(a=x, b=x, x=x)

    with pytest.raises(sardonyx.UnsupportedModel, match=r"function.*Betainc"):
        sardonyx.load(function)


def test_choices_between_floats_keep_infinities():
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def function(x):
        return tf.where(x > 0, x, tf.constant(-1.0))

    x = np.float32([[1, -np.inf, np.inf, np.nan]])
    check(sardonyx.load(function), {"output": function(x)}, x=x)


def test_choices_between_integers(rng):
    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.int32, name="x")])
    def function(x):
        return tf.where(x > 0, x, -x)

    x = rng.integers(-9, 9, (3, 4)).astype(np.int32)
    check(sardonyx.load(function), {"output": function(x)}, x=x)


def test_einsum_stays_one_operator(rng):
    weights = floats(rng, 4, 2, 3)

    @tf.function(input_signature=[tf.TensorSpec([None, 5, 4], tf.float32, name="x")])
    def function(x):
        return tf.einsum("abc,cde->abde", x, weights)

    model = sardonyx.load(function)
    assert "Einsum" in [node.op_type for node in model.graph]
    x = floats(rng, 3, 5, 4)
    check(model, {"output": function(x)}, x=x)


def test_functions_compiled_as_a_whole_become_nodes(rng):
    @tf.function(jit_compile=True)
    def inner(x):
        return tf.nn.relu(x) * 2.0

    @tf.function(input_signature=[tf.TensorSpec([None, 3])])
    def outer(x):
        return inner(x) + inner(-x)

    x = floats(rng, 4, 3)
    model = sardonyx.load(outer)
    check(model, {"output": outer(x)}, x=x)


def test_a_node_that_is_left_half_converted_is_an_error():
    weights = tf.ones((3, 3, 2, 4))

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec([None], tf.int32)])
    def network(x, shape):
        return tf.nn.conv2d(tf.reshape(x, shape), weights, 1, "SAME")

    with pytest.raises(sardonyx.UnsupportedModel, match=r"could not convert '.*Conv2D'"):
        sardonyx.load(network)
