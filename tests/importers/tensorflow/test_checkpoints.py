"""Modules and functions that get their variables from a checkpoint."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "TensorFlow is not installed: pip install sardonyx[tensorflow]"
tf = pytest.importorskip("tensorflow", reason=WHY)
pytest.importorskip("tf2onnx", reason=WHY)


class Dense(tf.Module):
    def __init__(self, rng, rows, columns):
        super().__init__()
        self.kernel = tf.Variable(rng.standard_normal((rows, columns)).astype(np.float32))

    def __call__(self, x):
        return x @ self.kernel


class Network(tf.Module):
    def __init__(self, rng, width=3):
        super().__init__()
        self.layers = [Dense(rng, 4, width), Dense(rng, width, 2)]

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        for layer in self.layers:
            x = tf.nn.tanh(layer(x))
        return x


class Lazy(tf.Module):
    """Makes its variable when it is first called."""

    kernel = None

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def __call__(self, x):
        if self.kernel is None:
            self.kernel = tf.Variable(tf.zeros([4, 2]))
        return x @ self.kernel


def check(model, function, rng):
    x = rng.standard_normal((5, 4)).astype(np.float32)
    (found,) = sardonyx.Session(model).run(None, {"x": x})
    assert np.abs(found).max() > 0
    np.testing.assert_allclose(found, function(tf.constant(x)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("as_attribute", [False, True])
def test_modules(rng, tmp_path, as_attribute):
    saved, fresh = Network(rng), Network(rng)
    checkpoint = tf.train.Checkpoint(model=saved) if as_attribute else tf.train.Checkpoint(saved)
    prefix = checkpoint.save(str(tmp_path / "step"))
    for given in (prefix, prefix + ".index", tmp_path):
        check(sardonyx.load(Network(rng), checkpoint=given), saved, rng)
    check(sardonyx.load(fresh.__call__, checkpoint=prefix), saved, rng)


def test_variables_made_by_the_first_call(rng, tmp_path):
    saved = Lazy()
    saved(tf.zeros([1, 4]))
    saved.kernel.assign(rng.standard_normal((4, 2)).astype(np.float32))
    prefix = tf.train.Checkpoint(saved).write(str(tmp_path / "lazy"))
    check(sardonyx.load(Lazy(), checkpoint=prefix), saved, rng)


def test_functions_of_variables(rng, tmp_path):
    kernel = tf.Variable(rng.standard_normal((4, 2)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def product(x):
        return x @ kernel

    prefix = tf.train.Checkpoint(kernel=kernel).write(str(tmp_path / "plain"))
    wanted = kernel.numpy()
    kernel.assign(tf.zeros_like(kernel))
    check(sardonyx.load(product, checkpoint=prefix), lambda x: x @ wanted, rng)


def test_checkpoints_of_tensorflow_1(rng, tmp_path):
    wanted = rng.standard_normal((4, 2)).astype(np.float32)
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.compat.v1.get_variable("kernel", initializer=wanted)
        session.run(tf.compat.v1.global_variables_initializer())
        prefix = tf.compat.v1.train.Saver().save(session, str(tmp_path / "old"))
    kernel = tf.Variable(tf.zeros([4, 2]), name="kernel")

    @tf.function(input_signature=[tf.TensorSpec([None, 4], tf.float32, name="x")])
    def product(x):
        return x @ kernel

    check(sardonyx.load(product, checkpoint=prefix), lambda x: x @ wanted, rng)


def test_missing_variables_are_named(rng, tmp_path):
    saved, fresh = Network(rng), Network(rng)
    saved.layers = saved.layers[:1]
    prefix = tf.train.Checkpoint(saved).write(str(tmp_path / "short"))
    before = fresh.layers[0].kernel.numpy()
    message = r"short lacks layers/1/kernel; it has layers/0/kernel"
    with pytest.raises(sardonyx.InvalidArgument, match=message):
        sardonyx.load(fresh, checkpoint=prefix)
    np.testing.assert_array_equal(fresh.layers[0].kernel, before)


def test_other_shapes_are_named(rng, tmp_path):
    prefix = tf.train.Checkpoint(Network(rng, width=7)).write(str(tmp_path / "wide"))
    with pytest.raises(sardonyx.InvalidArgument, match=r"layers/0/kernel .*\[4, 7\].*\[4, 3\]"):
        sardonyx.load(Network(rng), checkpoint=prefix)


def test_no_checkpoint(rng, tmp_path):
    with pytest.raises(sardonyx.InvalidArgument, match=r"no checkpoint .*nothing"):
        sardonyx.load(Network(rng), checkpoint=tmp_path / "nothing")
    with pytest.raises(sardonyx.InvalidArgument, match="holds no checkpoint"):
        sardonyx.load(Network(rng), checkpoint=tmp_path)
    tf.saved_model.save(Network(rng), str(tmp_path))
    with pytest.raises(
        sardonyx.InvalidArgument, match="checkpoint= is no option for the format SavedModel"
    ):
        sardonyx.load(tmp_path, checkpoint="any")
