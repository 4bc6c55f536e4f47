"""Keras models and files, against Keras."""

from __future__ import annotations

import os
import subprocess
import sys

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
    with pytest.raises(sardonyx.ImportFailed, match=r"bad\.keras"):
        sardonyx.load(tmp_path / "bad.keras")
    with pytest.raises(sardonyx.InvalidArgument, match="not built"):
        sardonyx.load(keras.Sequential([layers.Dense(3)]))
    # Safe mode: a file may not bring code.
    unsafe = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1)])
    unsafe.save(tmp_path / "unsafe.keras")
    with pytest.raises(sardonyx.ImportFailed, match=r"(?i)lambda|unsafe"):
        sardonyx.load(tmp_path / "unsafe.keras")


def test_the_torch_backend():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    code = """
import numpy as np, keras, sardonyx
net = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3), keras.layers.ReLU(),
                        keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
x = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype(np.float32)
wanted = keras.ops.convert_to_numpy(net(x))
print(np.abs(sardonyx.Session(sardonyx.load(net))(x) - wanted).max() < 1e-4)
"""
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip().endswith("True"), done.stderr
