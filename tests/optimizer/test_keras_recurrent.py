"""Recurrent layers of Keras, through TensorFlow: operators, and Keras' results."""

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
CELLS = {
    "LSTM": lambda **options: layers.LSTM(5, **options),
    "GRU": lambda **options: layers.GRU(5, **options),
    "GRU with the reset before": lambda **options: layers.GRU(5, reset_after=False, **options),
    "SimpleRNN": lambda **options: layers.SimpleRNN(5, **options),
}
ARRANGEMENTS = {
    "last": lambda cell, x: cell()(x),
    "sequence": lambda cell, x: cell(return_sequences=True)(x),
    "states": lambda cell, x: cell(return_sequences=True, return_state=True)(x),
    "backwards": lambda cell, x: cell(return_sequences=True, go_backwards=True)(x),
    "both ways": lambda cell, x: layers.Bidirectional(cell())(x),
    "stacked": lambda cell, x: layers.Bidirectional(cell())(
        layers.Bidirectional(cell(return_sequences=True))(x)
    ),
}


def network(cell, arrangement, length):
    x = keras.Input((length, 4))
    return with_random_weights(keras.Model(x, ARRANGEMENTS[arrangement](CELLS[cell], x)))


def with_random_weights(keras_model):
    rng = np.random.default_rng(3)
    weights = keras_model.get_weights()  # biases, too
    keras_model.set_weights([rng.uniform(-1, 1, array.shape) for array in weights])
    return keras_model


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("cell", CELLS)
def test_no_loop_is_left(rng, cell, arrangement):
    keras_model = network(cell, arrangement, None)
    model = sardonyx.optimize(sardonyx.load(keras_model))
    assert not {"Loop", "Scan"} & {node.op_type for node in model.graph}
    for batch, length in ((2, 9), (3, 4)):
        check(keras_model, model, [rng.standard_normal((batch, length, 4)).astype(np.float32)])


ACTIVATIONS = ["linear", "hard_sigmoid", "elu", "softsign", "relu", "softplus"]


@pytest.mark.parametrize(
    ("name", "gates"),
    list(zip(ACTIVATIONS, [*ACTIVATIONS[1:], ACTIVATIONS[0]], strict=True)),
)
@pytest.mark.parametrize("cell", CELLS)
def test_other_activations_leave_no_loop(rng, cell, name, gates):
    """Each of states and of gates, another one beside it."""
    x = keras.Input((None, 4))
    options = {"activation": name}
    if "RNN" not in cell:
        options["recurrent_activation"] = gates
    keras_model = with_random_weights(keras.Model(x, CELLS[cell](**options)(x)))
    model = sardonyx.optimize(sardonyx.load(keras_model))
    assert not {"Loop", "Scan"} & {node.op_type for node in model.graph}
    check(keras_model, model, [rng.standard_normal((3, 4, 4)).astype(np.float32)])


def masked(rng, batch, length, columns=4):
    """Sequences with steps that are masked: none, all, the first, the last, and any."""
    counts = rng.random((batch, length)) < 0.6
    counts[0], counts[1] = True, False
    counts[2, :2], counts[3, -2:] = False, False
    x = rng.uniform(0.5, 1.5, (batch, length, columns)).astype(np.float32)
    return x * counts[:, :, None]


def check(keras_model, model, feeds):
    session = sardonyx.Session(model)
    expected = keras_model(feeds if len(feeds) > 1 else feeds[0], training=False)
    expected = expected if isinstance(expected, list | tuple) else [expected]
    names = [value.name for value in session.get_inputs()]
    results = session.run(None, dict(zip(names, feeds, strict=True)))
    for a, b in zip(results, expected, strict=True):
        np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_masked_layer_leaves_no_loop(rng, cell, arrangement):
    x = keras.Input((None, 4))
    keras_model = with_random_weights(
        keras.Model(x, ARRANGEMENTS[arrangement](CELLS[cell], layers.Masking()(x)))
    )
    model = sardonyx.optimize(sardonyx.load(keras_model))
    assert not {"Loop", "Scan"} & {node.op_type for node in model.graph}
    check(keras_model, model, [masked(rng, 6, 9)])
    check(keras_model, model, [masked(rng, 4, 3)])


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_masked_layer_begins_with_the_state_it_is_given(rng, cell, zero):
    x = keras.Input((None, 4))
    states = [keras.Input((5,)) for _ in range(2 if cell == "LSTM" else 1)]
    options = {"return_sequences": True, "return_state": True, "zero_output_for_mask": zero}
    layer = CELLS[cell](**options)
    keras_model = keras.Model([x, *states], layer(layers.Masking()(x), initial_state=states))
    model = sardonyx.optimize(sardonyx.load(with_random_weights(keras_model)))
    assert not {"Loop", "Scan"} & {node.op_type for node in model.graph}
    values = [rng.standard_normal((6, 5)).astype(np.float32) for _ in states]
    check(keras_model, model, [masked(rng, 6, 7), *values])


@pytest.mark.parametrize("cell", CELLS)
def test_words_that_are_masked_leave_no_loop(rng, cell):
    x = keras.Input((None,), dtype="int32")
    words = layers.Embedding(20, 4, mask_zero=True)(x)
    keras_model = with_random_weights(keras.Model(x, layers.Bidirectional(CELLS[cell]())(words)))
    model = sardonyx.optimize(sardonyx.load(keras_model))
    assert not {"Loop", "Scan"} & {node.op_type for node in model.graph}
    check(keras_model, model, [rng.integers(0, 3, (5, 8)).astype(np.int32)])
