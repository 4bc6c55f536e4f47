"""Attention of Keras, through TensorFlow's Einsum: operators, and Keras' results."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "Keras with TensorFlow is not installed: pip install sardonyx[keras]"
pytest.importorskip("tensorflow", reason=WHY)
pytest.importorskip("tf2onnx", reason=WHY)
keras = pytest.importorskip("keras", reason=WHY)
layers = keras.layers


def words(mask_zero=False):
    ids = keras.Input((None,), dtype="int32")
    return ids, layers.Embedding(9, 16, mask_zero=mask_zero)(ids)


def network(kind):
    ids, x = words(mask_zero="padded" in kind)
    heads = layers.MultiHeadAttention(4, 6, value_dim=5)
    outputs = {
        "plain": lambda: heads(x, x),
        "padded": lambda: heads(x, x),
        "causal": lambda: heads(x, x, use_causal_mask=True),
        "block": lambda: layers.LayerNormalization()(x + heads(x, x)),
        "shared": lambda: layers.GroupQueryAttention(6, 4, 2)(x, x),
        "single": lambda: layers.Attention(use_scale=True)([x, x]),
        "single causal": lambda: layers.Attention(dropout=0.1)([x, x], use_causal_mask=True),
        "single padded": lambda: layers.Attention()([x, x]),
        "causal with dropout": lambda: layers.MultiHeadAttention(4, 6, dropout=0.1)(
            x, x, use_causal_mask=True
        ),
    }[kind]()
    model = keras.Model(ids, outputs)
    rng = np.random.default_rng(3)
    model.set_weights([rng.uniform(-1, 1, w.shape) for w in model.get_weights()])  # biases, too
    return model


KINDS = [
    "plain", "padded", "causal", "block", "shared", "single", "single causal", "single padded",
    "causal with dropout",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_attention_is_one_operator(rng, kind):
    keras_model = network(kind)
    model = sardonyx.optimize(sardonyx.load(keras_model))
    left = [node.op_type for node in model.graph]
    assert left.count("Attention") == 1
    assert not {"Softmax", "Einsum"} & set(left)
    session = sardonyx.Session(model)
    for batch, length in ((2, 9), (3, 4)):
        ids = rng.integers(0, 9, (batch, length)).astype(np.int32)
        ids[0, length // 2 :] = 0
        ids[1] = 0  # nothing but padding
        expected = keras.ops.convert_to_numpy(keras_model(ids, training=False))
        (result,) = session.run(None, {session.get_inputs()[0].name: ids})
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_projections_are_products_with_their_biases():
    model = sardonyx.optimize(sardonyx.load(network("plain")))
    for node in model.graph:
        if node.op_type == "MatMul":
            assert [use.node.op_type for use in node.outputs[0].uses()] == ["Add"]


def test_gelu_by_erfc_is_one_operator(rng):
    ids, x = words()
    exact = layers.Lambda(lambda t: keras.activations.gelu(t, approximate=False))
    keras_model = keras.Model(ids, exact(layers.Dense(8)(x)))
    session = sardonyx.Session(model := sardonyx.optimize(sardonyx.load(keras_model)))
    left = [node.op_type for node in model.graph]
    assert left.count("Gelu") == 1 and not {"Erf", "Neg", "Sub"} & set(left)
    values = rng.integers(0, 9, (2, 5)).astype(np.int32)
    (result,) = session.run(None, {session.get_inputs()[0].name: values})
    expected = keras.ops.convert_to_numpy(keras_model(values))
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["plain", "causal", "shared", "single"])
def test_attention_by_tf2onnx_is_one_operator(rng, tmp_path, kind):
    """It writes Einsum as products of matrices whose batch it computes from sizes."""
    import tensorflow
    import tf2onnx

    x = keras.Input((7, 16))
    heads = layers.MultiHeadAttention(4, 6, value_dim=5)
    results = {
        "plain": lambda: heads(x, x),
        "causal": lambda: heads(x, x, use_causal_mask=True),
        "shared": lambda: layers.GroupQueryAttention(6, 4, 2)(x, x),
        "single": lambda: layers.Attention(use_scale=True)([x, x]),
    }[kind]()
    keras_model = keras.Model(x, results)
    signature = [tensorflow.TensorSpec((None, 7, 16), tensorflow.float32, name="x")]
    function = tensorflow.function(lambda t: keras_model(t, training=False), signature)
    tf2onnx.convert.from_function(
        function, input_signature=signature, opset=17, output_path=str(tmp_path / "model.onnx")
    )
    model = sardonyx.optimize(sardonyx.load(tmp_path / "model.onnx"))
    left = [node.op_type for node in model.graph]
    assert left.count("Attention") == 1 and "Softmax" not in left
    session = sardonyx.Session(model)
    for batch in (1, 3):
        given = rng.standard_normal((batch, 7, 16)).astype(np.float32)
        expected = keras.ops.convert_to_numpy(keras_model(given, training=False))
        (result,) = session.run(None, {"x": given})
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)
