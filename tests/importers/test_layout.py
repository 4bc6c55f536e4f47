"""Keras' convolutional networks, whose channels are last, keep two Transposes at most."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "Keras on TensorFlow is not installed: pip install sardonyx[keras]"
pytest.importorskip("tensorflow", reason=WHY)
pytest.importorskip("tf2onnx", reason=WHY)
keras = pytest.importorskip("keras", reason=WHY)
if keras.backend.backend() != "tensorflow":
    pytest.skip(f"Keras runs on {keras.backend.backend()}", allow_module_level=True)
layers = keras.layers


def conv(x, filters, size=3, **options):
    return layers.Conv2D(filters, size, padding="same", **options)(x)


def unet(image):
    first = x = conv(image, 8, activation="relu")
    x = conv(layers.MaxPool2D()(x), 16)
    second = x = layers.LeakyReLU()(layers.BatchNormalization()(x))
    x = conv(layers.AveragePooling2D(2)(x), 16, activation="gelu")
    x = layers.Conv2DTranspose(16, 2, strides=2, padding="same")(x)
    x = layers.PReLU(shared_axes=[1, 2])(conv(layers.Concatenate()([x, second]), 8))
    x = layers.UpSampling2D(interpolation="bilinear")(x)
    x = conv(layers.Concatenate()([x, first]), 8, activation="elu")
    return conv(x, 2, 1, activation="softmax")


def gates(image):
    x = conv(image, 16, activation="relu")
    for _ in range(2):
        gate = layers.Dense(4, activation="relu")(layers.GlobalAveragePooling2D()(x))
        gate = layers.Reshape((1, 1, 16))(layers.Dense(16, activation="sigmoid")(gate))
        x = conv(layers.Multiply()([x, gate]), 16, activation="hard_silu")
        gate = layers.GlobalMaxPooling2D(keepdims=True)(x)
        x = layers.Activation("selu")(x * layers.Conv2D(16, 1, activation="sigmoid")(gate))
    return layers.Dense(5)(layers.Flatten()(x))


def attention(image):
    x = conv(image, 8, activation="relu")
    for _ in range(2):
        mean = keras.ops.mean(x, axis=-1, keepdims=True)
        most = keras.ops.max(x, axis=-1, keepdims=True)
        x = x * conv(layers.Concatenate()([mean, most]), 1, 7, activation="sigmoid")
        left, right = keras.ops.split(conv(x, 8), 2, axis=-1)
        x = layers.Activation("mish")(layers.Concatenate()([conv(left, 4), right]))
    return layers.Flatten()(conv(x, 4))


def application(name):
    return lambda _: getattr(keras.applications, name)(
        weights=None, input_shape=(64, 64, 3), classes=10
    )


NETWORKS = {
    **{f.__name__: f for f in (unet, gates, attention)},
    **{n: application(n) for n in ("MobileNetV2", "MobileNetV3Small", "EfficientNetB0")},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_transposes(name, rng):
    keras.utils.set_random_seed(1)
    image = layers.Input((64, 64, 3))
    made = NETWORKS[name](image)
    network = made if isinstance(made, keras.Model) else keras.Model(image, made)
    model = sardonyx.optimize(sardonyx.load(network))
    left = [node.op_type for node in model.graph.all_nodes()]
    assert left.count("Transpose") <= 2
    x = rng.random((2, 64, 64, 3)).astype(np.float32)
    (found,) = sardonyx.Session(model).run(None, {str(model.graph.inputs[0].name): x})
    wanted = np.asarray(network(x, training=False))
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())
