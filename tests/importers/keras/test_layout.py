"""Keras' convolutional networks, whose channels are last, keep one Transpose for each image."""

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

from .networks import NETWORKS, PERMUTING  # noqa: E402 keras is there

MOVES = ("Transpose", "Reorder")


def made(name, rng):
    """A network with random weights, those of normalizations and biases, too."""
    keras.utils.set_random_seed(1)
    network = NETWORKS[name]()
    weights = network.get_weights()
    network.set_weights([w + rng.uniform(0, 0.2, w.shape) * (w.ndim == 1) for w in weights])
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_transposes(name, rng):
    network = made(name, rng)
    model = sardonyx.optimize(sardonyx.load(network))
    left = [node.op_type for node in model.graph.all_nodes()]
    ends = len(model.graph.inputs) + len(model.graph.outputs) + PERMUTING.get(name, 0)
    session = sardonyx.Session(model)
    if "LayerNormalization" in left:  # over last axes: it stands between two that move nothing
        left = [step.op_type for step in session.engine.program.steps]
    assert sum(left.count(name) for name in MOVES) <= ends
    assert not {"Loop", "Scan"} & set(left)
    shapes = [[2, *(size or 8 for size in value.shape[1:])] for value in network.inputs]
    images = [rng.random(shape).astype(np.float32) for shape in shapes]
    names = [str(value.name) for value in model.graph.inputs]
    found = session.run(None, dict(zip(names, images, strict=True)))
    wanted = network(images if len(images) > 1 else images[0], training=False)
    wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
    for result, value in zip(found, map(np.asarray, wanted), strict=True):
        np.testing.assert_allclose(result, value, rtol=1e-4, atol=1e-4 * np.abs(value).max())
