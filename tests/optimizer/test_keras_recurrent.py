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
    made = keras.Model(x, ARRANGEMENTS[arrangement](CELLS[cell], x))
    rng = np.random.default_rng(3)
    made.set_weights([rng.uniform(-1, 1, w.shape) for w in made.get_weights()])  # biases, too
    return made


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("cell", CELLS)
def test_no_loop_is_left(rng, cell, arrangement):
    made = network(cell, arrangement, None)
    model = sardonyx.optimize(sardonyx.load(made))
    assert not {"Loop", "Scan"} & {node.op_type for node in model.graph}
    session = sardonyx.Session(model)
    for batch, length in ((2, 9), (3, 4)):
        x = rng.standard_normal((batch, length, 4)).astype(np.float32)
        wanted = made(x, training=False)
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        for a, b in zip(session.run(None, {session.get_inputs()[0].name: x}), wanted, strict=True):
            np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5)


def test_a_mask_is_not_lost(rng):
    x = keras.Input((7, 4))
    made = keras.Model(x, layers.GRU(5)(layers.Masking()(x)))
    model = sardonyx.optimize(sardonyx.load(made))
    assert "GRU" not in {node.op_type for node in model.graph}
