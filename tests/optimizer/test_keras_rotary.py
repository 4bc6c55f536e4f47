"""Rotary embedding as Keras' users write it, through TensorFlow: operators, and Keras' results."""

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
ops, layers = keras.ops, keras.layers
HEADS, SIZE, WIDTH = 2, 8, 16


def of_positions(table):
    """Angles for rows whose heads come behind their positions."""
    return table[None, :, None, :]


def halves(x, f):
    a, b = ops.split(x, 2, -1)
    return ops.concatenate([-b, a], -1), ops.concatenate([f, f], -1)


def stacked_halves(x, f):
    a, b = ops.split(x, 2, -1)
    turned = ops.reshape(ops.stack([-b, a], axis=-2), ops.shape(x))
    return turned, ops.reshape(ops.stack([f, f], axis=-2), (-1, x.shape[-1]))


def neighbours(x, f):
    turned = ops.stack([-x[..., 1::2], x[..., ::2]], -1)
    return ops.reshape(turned, ops.shape(x)), ops.repeat(f, 2, axis=-1)


def by_sum(way):
    def turn(x, f):
        turned, angles = way(x, f)
        return x * of_positions(ops.cos(angles)) + turned * of_positions(ops.sin(angles))

    return turn


def by_parts(x, f):
    a, b = ops.split(x, 2, -1)
    cos, sin = of_positions(ops.cos(f)), of_positions(ops.sin(f))
    return ops.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


WAYS = {
    "halves": by_sum(halves),
    "stacked halves": by_sum(stacked_halves),
    "neighbours": by_sum(neighbours),
    "parts": by_parts,
}


class Attention(layers.Layer):
    def __init__(self, turn, first):
        super().__init__()
        self.turn, self.first = turn, first
        self.q, self.k, self.v = (layers.Dense(WIDTH) for _ in range(3))

    def turned(self, x):
        part, rest = x[..., : self.first], x[..., self.first :]
        frequencies = (0.1 ** np.arange(self.first // 2)).astype(np.float32)
        positions = ops.cast(ops.arange(ops.shape(x)[1]), "float32")
        turned = self.turn(part, positions[:, None] * frequencies[None])
        return ops.concatenate([turned, rest], -1) if self.first < SIZE else turned

    def call(self, x):
        count = ops.shape(x)[1]
        q, k, v = (ops.reshape(f(x), (-1, count, HEADS, SIZE)) for f in (self.q, self.k, self.v))
        q, k, v = (ops.transpose(t, (0, 2, 1, 3)) for t in (self.turned(q), self.turned(k), v))
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) / SIZE**0.5
        result = ops.matmul(ops.softmax(scores), v)
        return ops.reshape(ops.transpose(result, (0, 2, 1, 3)), (-1, count, WIDTH))


@pytest.mark.parametrize(
    ("way", "first"), [*((way, SIZE) for way in WAYS), ("halves", 4), ("neighbours", 4)]
)
def test_queries_and_keys_are_turned_by_the_operator(rng, way, first):
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32")
    result = Attention(WAYS[way], first)(layers.Embedding(9, WIDTH)(ids))
    keras_model = keras.Model(ids, result)
    model = sardonyx.optimize(sardonyx.load(keras_model))
    left = [node.op_type for node in model.graph]
    assert left.count("RotaryEmbedding") == 2 and left.count("Attention") == 1
    assert not {"Neg", "Split", "Tile"} & set(left)
    session = sardonyx.Session(model)
    for shape in ((2, 5), (1, 3)):
        values = rng.integers(0, 9, shape).astype(np.int32)
        (output,) = session.run(None, {session.get_inputs()[0].name: values})
        expected = keras.ops.convert_to_numpy(keras_model(values))
        np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)
