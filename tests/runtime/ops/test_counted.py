"""Results with as many elements as data say."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import build

FLOAT = np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "bool", "uint8"])
def test_nonzero(check, rng, dtype):
    nodes = [make_node("NonZero", ["x"], ["i"]), make_node("Neg", ["i"], ["y"])]
    for shape in ((5,), (3, 4), (2, 3, 4, 5), (0, 3), (70, 300), (1, 1)):
        feeds = []
        for share in (0.0, 0.01, 0.6, 1.0):
            x = np.where(rng.random(shape) < share, rng.integers(1, 3, shape), 0).astype(dtype)
            feeds.append({"x": x})
        check(nodes, feeds, outputs=["i", "y"], threads=[1, 3])


def test_nan_is_not_zero_and_both_zeros_are(check):
    x = np.array([0.0, -0.0, np.nan, np.inf, 1e-40], FLOAT)
    check([make_node("NonZero", ["x"], ["i"])], {"x": x}, precision="strict")


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_compress(check, rng, axis):
    given = {} if axis is None else {"axis": axis}
    node = make_node("Compress", ["x", "c"], ["y"], **given)
    x = rng.standard_normal((5, 7)).astype(FLOAT)
    feeds = [{"x": x, "c": rng.random(count) < 0.5} for count in (5, 3, 0)]
    check([node], feeds)


@pytest.mark.parametrize("axis", [None, 0, -1])
def test_compressing_a_scalar_is_refused(refused, axis):
    given = {} if axis is None else {"axis": axis}
    node = make_node("Compress", ["x", "c"], ["y"], "packed", **given)
    feeds = {"x": np.array(1, FLOAT), "c": np.array([True])}
    for opset in (10, 22):
        text = refused([node], feeds, opset=opset)
        assert "packed" in text and "rank" in text


def test_places_beyond_an_axis_are_refused(refused):
    x = np.zeros((3, 2), FLOAT)
    node = make_node("Compress", ["x", "c"], ["y"], name="thin", axis=0)
    for dims in (None, {"c": ["n"], "x": ["a", "b"]}):
        assert "thin" in refused([node], {"x": x, "c": np.ones(4, bool)}, dims=dims)


def test_unique_of_special_values(check):
    """No NaN equals another one; both zeros are equal, and the first one stands for them."""
    x = np.array([2, -0.0, np.nan, 0.0, np.inf, np.nan, -np.inf, 2], FLOAT)
    for is_sorted in (0, 1):
        node = make_node("Unique", ["x"], ["y", "i", "r", "c"], sorted=is_sorted)
        first = [6, 1, 0, 4, 2, 5] if is_sorted else [0, 1, 2, 4, 5, 6]
        groups = {place: n for n, place in enumerate(first)}
        inverse = [groups[each] for each in (0, 1, 2, 1, 4, 5, 6, 0)]
        counts = [2 if place < 2 else 1 for place in first]
        wanted = [x[first], *(np.array(a, np.int64) for a in (first, inverse, counts))]
        check([node], {"x": x}, wanted=[wanted])


@pytest.mark.parametrize("dtype", ["int64", "float32", "uint64", "int8"])
def test_unique_of_many(check, rng, dtype):
    wide = rng.integers(-(2**62), 2**62, 300).astype(dtype)
    feeds = [{"x": rng.choice(values, 3000)} for values in (wide, wide[:9], wide[:1])]
    for is_sorted in (0, 1):
        node = make_node("Unique", ["x"], ["y", "i", "r", "c"], sorted=is_sorted)
        wanted = []
        for feed in feeds:
            y, first, inverse, counts = np.unique(feed["x"], True, True, True)
            order = np.arange(len(y)) if is_sorted else np.argsort(first)
            places = np.argsort(order)[inverse]
            wanted.append([y[order], first[order], places, counts[order]])
        check([node], feeds, wanted=wanted)


def test_unique_rows_of_many(check, rng):
    x = rng.integers(-2, 3, (40, 3, 90)).astype(np.int64)
    for axis in (0, 1, 2):
        nodes = [make_node("Unique", ["x"], ["y", "i", "r", "c"], axis=axis)]
        check(nodes, [{"x": x[:n]} for n in (40, 7, 1)], threads=[1, 2])


# --- suppression of boxes ---------------------------------------------------------------------


def boxes(rng, count, images=1):
    center, size = rng.random((2, images, count, 2)) * 60
    return np.concatenate([center - size / 2, center + size / 2], -1).astype(FLOAT)


def suppression(**attributes):
    return make_node("NonMaxSuppression", ["b", "s", "m", "o", "t"], ["y"], "nms", **attributes)


@pytest.mark.parametrize("centred", [0, 1])
def test_suppression(check, rng, centred):
    node = suppression(center_point_box=centred)
    for most, overlap, least in ((5, 0.5, 0.3), (300, 0.0, -1.0), (300, 1.0, 0.0), (0, 0.5, 0.0)):
        weights = {
            "m": np.array([most]), "o": np.array([overlap], FLOAT), "t": np.array([least], FLOAT),
        }  # fmt: skip
        feeds = [
            {"b": boxes(rng, n, 2), "s": rng.random((2, 3, n)).astype(FLOAT)} for n in (150, 1, 0)
        ]
        check([node], feeds, weights, threads=[1, 3])
        check([node], [{**feed, **weights} for feed in feeds])


def test_of_equal_scores_the_first_box_is_taken(check):
    corners = np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 6, 6], [0, 0, 0, 0]]], FLOAT)
    scores = np.array([[[0.5, 0.5, 0.5, 0.0]]], FLOAT)
    limits = {"m": np.array(9), "o": np.array(0.5, FLOAT), "t": np.array(-0.0, FLOAT)}
    check([suppression()], {"b": corners, "s": scores, **limits}, wanted=[
        [np.array([[0, 0, 0], [0, 0, 2]])]
    ])  # fmt: skip


def test_boxes_of_another_number_than_scores_are_refused(refused, rng):
    limits = {"m": np.array([2]), "o": np.zeros(1, FLOAT), "t": np.zeros(1, FLOAT)}
    feeds = {"b": boxes(rng, 4), "s": np.ones((1, 2, 5), FLOAT), **limits}
    for dims in (None, {"b": ["n", "k", 4], "s": ["n", "c", "l"]}):
        assert "nms" in refused([suppression()], feeds, dims=dims)


def test_results_of_no_elements_are_followed_by_others(rng):
    """A detector that finds nothing."""
    nodes = [
        suppression(),
        make_node("Gather", ["y", "two"], ["k"], axis=1),
        make_node("Gather", ["b", "k"], ["g"], axis=1),
        make_node("Relu", ["g"], ["z"]),
    ]
    weights = {"m": np.array([9]), "o": np.zeros(1, FLOAT), "t": np.array([0.5], FLOAT),
               "two": np.array(2)}  # fmt: skip
    feeds = {"b": boxes(rng, 6), "s": np.zeros((1, 1, 6), FLOAT)}
    session = sardonyx.Session(build(nodes, [feeds], weights), threads=1)
    for score, count in ((0.0, 0), (1.0, 1), (0.0, 0)):
        found = session.run(
            None, {**feeds, "s": feeds["s"] + np.array([score] * 1 + [0] * 5, FLOAT)}
        )
        assert found[0].shape == (1, count, 4)
