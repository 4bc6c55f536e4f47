"""Keras models and files, against Keras."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "Keras with TensorFlow is not installed: pip install sardonyx[keras]"
pytest.importorskip("tensorflow", reason=WHY)
keras = pytest.importorskip("keras", reason=WHY)
layers = keras.layers


def network():
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Conv2D(8, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, strides=2),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax", name="label"),
        ]
    )


def separable():
    return keras.Sequential(
        [
            keras.Input((33, 31, 3)),
            layers.Conv2D(8, 3, strides=2, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(6.0),
            layers.SeparableConv2D(16, 3, strides=2, padding="same"),
            layers.Activation("swish"),
            layers.DepthwiseConv2D(5, padding="same"),
            layers.AveragePooling2D(2, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )


def two_images():
    left, right = keras.Input((12, 12, 3), name="left"), keras.Input((12, 12, 2), name="right")
    x = layers.Conv2D(4, 3, padding="same", activation="relu")(left)
    y = layers.BatchNormalization()(layers.Conv2D(4, 1)(right))
    z = layers.Dropout(0.3)(layers.Conv2DTranspose(4, 2, strides=2)(layers.Concatenate()([x, y])))
    mask = layers.Conv2D(1, 1, activation="sigmoid", name="mask")(z)
    return keras.Model([left, right], [mask, layers.Dense(3, name="label")(keras.ops.max(z, 1))])


def branched():
    sequence, offset = keras.Input((7, 6), name="sequence"), keras.Input((4,), name="offset")
    x, state, _ = layers.LSTM(8, return_sequences=True, return_state=True)(sequence)
    x = layers.Bidirectional(layers.GRU(2))(x)
    return keras.Model([sequence, offset], [layers.Add(name="sum")([x, offset]), state])


def check(network, model, *inputs):
    session = sardonyx.Session(model)
    names = [port.name for port in session.get_inputs()]
    wanted = network(list(inputs) if len(inputs) > 1 else inputs[0], training=False)
    wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
    found = session.run(None, dict(zip(names, inputs, strict=True)))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5)


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_a_convolutional_network_takes_any_batch(rng):
    made = network()
    model = sardonyx.load(made)
    assert [value.name for value in model.graph.outputs] == ["label"]
    assert model.graph.inputs[0].shape[0].value == "batch"
    for batch in (1, 3):
        check(made, model, floats(rng, batch, 16, 16, 3))


def trained(network, rng):
    """Give batch normalizations statistics that are not those they begin with."""
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return network


def transposes(model):
    return sum(node.op_type == "Transpose" for node in sardonyx.optimize(model).graph)


def test_images_with_channels_last_are_transposed_where_they_come_in_and_go_out(rng):
    made = trained(separable(), rng)
    model = sardonyx.load(made)
    check(made, model, floats(rng, 2, 33, 31, 3))
    assert transposes(model) <= 2
    made = trained(two_images(), rng)
    model = sardonyx.load(made)
    assert [value.name for value in model.graph.inputs] == ["left", "right"]
    assert [value.name for value in model.graph.outputs] == ["mask", "label"]
    check(made, model, floats(rng, 2, 12, 12, 3), floats(rng, 2, 12, 12, 2))
    assert transposes(model) <= 4


def test_recurrent_layers_with_several_inputs_and_outputs(rng):
    made = branched()
    model = sardonyx.load(made)
    assert {value.name for value in model.graph.inputs} == {"sequence", "offset"}
    check(made, model, floats(rng, 2, 7, 6), floats(rng, 2, 4))


def test_files(rng, tmp_path):
    made = network()
    made.save(tmp_path / "net.keras")
    check(made, sardonyx.load(tmp_path / "net.keras"), floats(rng, 2, 16, 16, 3))


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"no archive")
    with pytest.raises(sardonyx.InvalidModel, match=r"bad\.keras"):
        sardonyx.load(tmp_path / "bad.keras")
    with pytest.raises(sardonyx.InvalidArgument, match="not built"):
        sardonyx.load(keras.Sequential([layers.Dense(3)]))
    # Safe mode: a file may not bring code.
    unsafe = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1)])
    unsafe.save(tmp_path / "unsafe.keras")
    with pytest.raises(sardonyx.ImportFailed, match=r"(?i)lambda|unsafe"):
        sardonyx.load(tmp_path / "unsafe.keras")


FRAMES = {
    "dense": lambda x: layers.TimeDistributed(layers.Dense(3))(x),
    "masked": lambda x: layers.LSTM(3)(
        layers.TimeDistributed(layers.Dense(3))(layers.Masking()(x))
    ),
    "images": lambda x: layers.TimeDistributed(
        keras.Sequential(
            [
                layers.Reshape((8, 8, 2)),
                layers.Conv2D(4, 3, padding="same", activation="relu"),
                layers.BatchNormalization(),
                layers.MaxPooling2D(),
            ]
        )
    )(x),
    "sequences": lambda x: layers.TimeDistributed(layers.LSTM(5))(layers.Reshape((-1, 16, 8))(x)),
}


@pytest.mark.parametrize("steps", [None, 5])
@pytest.mark.parametrize("name", FRAMES)
def test_a_layer_for_each_step_takes_any_number_of_steps(rng, name, steps):
    x = keras.Input((steps, 128))
    made = keras.Model(x, FRAMES[name](x))
    model = sardonyx.load(made)
    left = [node.op_type for node in sardonyx.optimize(model).graph.all_nodes()]
    assert max(left.count("Conv"), left.count("LSTM"), left.count("MatMul")) <= 1
    for batch, length in ((3, 5), *([] if steps else [(2, 9)])):
        frames = floats(rng, batch, length, 128)
        frames[0, 3:] = 0.0
        check(made, model, frames)


def test_keras_is_as_it_was_afterwards():
    before = layers.TimeDistributed.call
    x = keras.Input((3, 4))
    sardonyx.load(keras.Model(x, layers.TimeDistributed(layers.Dense(2))(x)))
    assert layers.TimeDistributed.call is before
