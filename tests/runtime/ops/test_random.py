"""Random numbers: their distributions, and what makes them the same again."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import build

SHAPE = [301, 333]


def session_of(node, feeds=None, threads=1):
    session = sardonyx.Session(build([node], [feeds or {}]), threads=threads)
    assert not session.engine.program.host_steps
    return session


def drawn(node, feeds=None, threads=1, runs=1):
    session = session_of(node, feeds, threads)
    return [session.run(None, feeds or {})[0].copy() for _ in range(runs)]


@pytest.mark.parametrize("dtype", [1, 11])
@pytest.mark.parametrize("op_type", ["RandomNormal", "RandomUniform"])
def test_moments(op_type, dtype):
    named = {"mean": 2.0, "scale": 3.0}
    if op_type == "RandomUniform":
        named = {"low": -1.0, "high": 3.0}
    mean, deviation, fourth = (2, 3, 3) if "mean" in named else (1, 4 / 12**0.5, 1.8)
    (x,) = drawn(make_node(op_type, [], ["y"], shape=SHAPE, dtype=dtype, seed=7.0, **named))
    z = (x.astype(np.float64) - mean) / deviation
    assert abs(z.mean()) < 0.02 and abs(z.std() - 1) < 0.02
    assert abs((z**4).mean() - fourth) < 0.1
    assert abs(np.corrcoef(z.ravel()[:-1], z.ravel()[1:])[0, 1]) < 0.02
    if "low" in named:
        assert -1 <= x.min() < -0.99 and 2.99 < x.max() <= 3


@pytest.mark.parametrize("op_type", ["RandomNormal", "RandomUniform"])
def test_a_seed_gives_the_same_numbers_on_any_number_of_threads(op_type):
    node = make_node(op_type, [], ["y"], shape=SHAPE, seed=1.5)
    first, again = drawn(node, runs=2)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, drawn(node, threads=3)[0])
    (other,) = drawn(make_node(op_type, [], ["y"], shape=SHAPE, seed=2.5))
    assert (other != first).mean() > 0.99


def test_without_a_seed_each_run_draws_anew():
    first, again = drawn(make_node("RandomUniform", [], ["y"], shape=SHAPE), runs=2)
    assert (first != again).mean() > 0.99


def test_blocks_are_those_of_philox():
    """Known answer of Philox 4x32-10, all zeros (the authors' library)."""
    words = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint64)
    (x,) = drawn(make_node("RandomUniform", [], ["y"], shape=[4], seed=0.0))
    np.testing.assert_array_equal(x, ((words >> 8) * 2.0**-24).astype(np.float32))


def test_shapes_of_others():
    for op_type in ("RandomNormalLike", "RandomUniformLike"):
        for shape in ((3, 5), (0, 2), (1,), ()):
            x = np.zeros(shape, np.float64)
            (y,) = drawn(make_node(op_type, ["x"], ["y"]), {"x": x})
            assert (y.shape, y.dtype) == (shape, x.dtype)


@pytest.mark.parametrize("dtype", [1, 7, 9, 2, 11])
def test_bernoulli(dtype):
    p = np.linspace(0, 1, 20_001, dtype=np.float32)
    first, again = drawn(make_node("Bernoulli", ["x"], ["y"], dtype=dtype), {"x": p}, runs=2)
    ones = first.astype(np.float64)
    assert set(np.unique(ones)) == {0, 1} and ones[0] == 0 and ones[-1] == 1
    assert abs(ones.mean() - 0.5) < 0.02 and abs((ones * p).mean() - 1 / 3) < 0.02
    assert (first != again).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_multinomial(dtype):
    shares = np.array([[0.1, 0.2, 0.7], [0.5, 0.25, 0.25]])
    node = make_node("Multinomial", ["x"], ["y"], sample_size=50_000, dtype=7, seed=1.0)
    (y,) = drawn(node, {"x": (np.log(shares) + 3).astype(dtype)})
    assert y.dtype == np.int64
    found = np.stack([np.bincount(row, minlength=3) / row.size for row in y])
    np.testing.assert_allclose(found, shares, atol=0.01)
