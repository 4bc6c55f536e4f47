"""Subclassed models, called, built or fitted, on each backend."""

import numpy as np
import pytest
import sardonyx

keras = pytest.importorskip("keras", reason="needs the extra keras")

rng = np.random.default_rng(0)
X = rng.random((3, 4)).astype(np.float32)


class Plain(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = keras.layers.Dense(2)

    def call(self, features, training=False):
        return self.dense(features)


class OfMapping(Plain):
    def call(self, inputs):
        return {"sum": self.dense(inputs["a"]) + inputs["b"]}


class OfTwo(Plain):
    def call(self, first, second):
        return self.dense(first) * second


class OfTokens(keras.Model):
    def __init__(self):
        super().__init__()
        self.embedding = keras.layers.Embedding(10, 3)

    def call(self, tokens):
        return self.embedding(tokens)


def check(model, feeds, **options):
    converted = sardonyx.convert(model, feeds=feeds, **options)
    assert {value.name for value in converted.model.graph.inputs} == set(feeds)
    assert converted.agrees, (converted.unchecked, converted.outputs)
    return converted


@pytest.mark.parametrize("how", ["called", "built", "fitted"])
def test_models_once(how):
    model = Plain()
    if how == "called":
        model(X)
    elif how == "built":
        model.build((None, 4))
    else:
        model.compile("sgd", "mse")
        model.fit(X, X[:, :2], verbose=0)
    converted = check(model, {"features": X})
    assert not isinstance(converted.model.graph.inputs[0].shape[0], int)


def test_inputs_by_names():
    model = OfMapping()
    model({"a": X, "b": X[:, :2]})
    check(model, {"a": X, "b": X[:, :2]})


def test_examples_give_shapes_and_dtypes():
    check(OfTwo(), {"first": X, "second": X[:, :2]}, example_inputs=(X, X[:, :2]))
    tokens = np.array([[1, 2], [3, 4]], np.int32)
    check(OfTokens(), {"tokens": tokens}, example_inputs=tokens)


def test_a_model_that_was_never_called():
    with pytest.raises(sardonyx.InvalidArgument, match="not built"):
        sardonyx.load(Plain())
