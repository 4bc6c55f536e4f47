"""Recurrent layers of Keras on PyTorch and JAX come out as operators, and compute the same."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

NETWORKS = """
import collections, keras, numpy as np, sardonyx
L = keras.layers
masked = L.Masking(0.0)
NETWORKS = {  # how to make the outputs, and the operators that are to be
    "lstm": (lambda x: L.LSTM(5, return_sequences=True)(x), "LSTM"),
    "states": (lambda x: L.LSTM(5, return_state=True)(x), "LSTM"),
    "stacked": (lambda x: L.GRU(5)(L.LSTM(4, return_sequences=True)(x)), "LSTM GRU"),
    "both ways": (lambda x: L.Bidirectional(L.LSTM(5, return_sequences=True))(x), "LSTM LSTM"),
    "no bias": (lambda x: L.GRU(5, use_bias=False, reset_after=False)(x), "GRU"),
    "activations": (
        lambda x: L.GRU(5, activation="elu", recurrent_activation="hard_sigmoid")(x), "GRU"
    ),
    "linear": (lambda x: L.SimpleRNN(5, activation=None)(x), "RNN"),
    "cells": (
        lambda x: L.RNN([L.GRUCell(3), L.LSTMCell(4)], return_state=True)(x), "GRU LSTM"
    ),
    "initial": (lambda x: L.GRU(6)(x, initial_state=x[:, 0] * 2), "GRU"),
    "masked": (
        lambda x: L.GRU(5, return_sequences=True, return_state=True)(masked(x)), "GRU"
    ),
    "masked, both ways": (
        lambda x: L.Bidirectional(L.LSTM(5, return_sequences=True))(masked(x)), "LSTM LSTM"
    ),
    "masked, zeros": (
        lambda x: L.RNN(L.LSTMCell(5), return_sequences=True, zero_output_for_mask=True)(
            masked(x)
        ), "LSTM"
    ),
    "masked, initial": (
        lambda x: L.LSTM(6)(masked(x), initial_state=[x[:, 0], x[:, 1] + 1]), "LSTM"
    ),
    "masked cells": (lambda x: L.RNN([L.SimpleRNNCell(3), L.LSTMCell(4)])(masked(x)), "RNN LSTM"),
}
rng = np.random.default_rng(0)
for number, (name, (make, wanted)) in enumerate(NETWORKS.items()):
    steps = None if number % 2 else 7
    x = keras.Input((steps, 6))
    network = keras.Model(x, make(x))
    for weight in network.weights:
        weight.assign(rng.uniform(-0.5, 0.5, weight.shape).astype(np.float32))
    model = sardonyx.optimize(sardonyx.load(network))
    found = collections.Counter(node.op_type for node in model.graph)
    assert not {"Loop", "Scan", "If"} & set(found), (name, found)
    recurrent = {kind: found[kind] for kind in ("LSTM", "GRU", "RNN") if found[kind]}
    assert recurrent == collections.Counter(wanted.split()), (name, found)
    session = sardonyx.Session(model)
    for sequences, count in ((3, steps or 4), (5, steps or 9)):
        values = rng.standard_normal((sequences, count, 6)).astype(np.float32)
        values[0, 2:] = values[1, :2] = values[2] = 0.0
        expected = keras.tree.flatten(network(values, training=False))
        results = session.run(None, {session.get_inputs()[0].name: values})
        for a, b in zip(results, expected, strict=True):
            b = keras.ops.convert_to_numpy(b)
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=name)
"""

OTHERS = """
swish = keras.Model(s := keras.Input((4, 6)), L.LSTM(5, activation="swish")(s))
values = rng.standard_normal((3, 4, 6)).astype(np.float32)
stateful = keras.Model(s := keras.Input(batch_shape=(3, 4, 6)), L.LSTM(5, stateful=True)(s))
for network in (swish, stateful):
    found = sardonyx.Session(sardonyx.load(network))(values)
    expected = keras.ops.convert_to_numpy(network(values, training=False))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
assert L.LSTM.inner_loop.__module__.startswith("keras"), "it stays replaced"
print("done", keras.backend.backend())
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_layers_become_operators(backend):
    pytest.importorskip("keras", reason="Keras is not installed")
    for package in ("jax", "flax", "jax2onnx") if backend == "jax" else ("torch", "onnxscript"):
        pytest.importorskip(package, reason=f"Keras on {backend} is converted through {package}")
    done = subprocess.run(
        [sys.executable, "-c", NETWORKS + OTHERS],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": backend},
        check=False,
    )
    assert done.stdout.strip().endswith(f"done {backend}"), done.stderr[-3000:]
