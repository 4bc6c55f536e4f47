"""Axes, steps, pads and values that are data of a run: compiled, and as if they were constants."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper

F32, INT = np.float32, np.int64


def lists(*values):
    return [np.array(value, INT) for value in values]


def images(rng, *shape):
    return rng.standard_normal(shape).astype(F32)


CASES = {
    "Slice": ((3, 4, 5), ["s", "e", "a", "d"], {}, [
        ([0, 1], [3, 9], [0, 2], [1, 2]), ([-1, 4], [-9, 0], [-1, 1], [-2, -1]),
        ([2, 0], [2**63 - 1, -(2**63)], [1, 0], [2**62, -3]), ([-9, 9], [9, -9], [0, -2], [2, -1]),
    ]),
    "Squeeze": ((1, 3, 1, 2), ["a"], {}, [([0, 2],), ([-2, 0],), ([2, -4],)]),
    "Unsqueeze": ((3, 2), ["a"], {}, [([0, 3],), ([1, 2],), ([-1, 0],)]),
    "ReduceSum": ((2, 3, 4, 5), ["a"], {"keepdims": 0}, [([0, 2],), ([-1, 1],), ([3, 2],)]),
    "ReduceMax": ((2, 3, 4), ["a"], {}, [([0],), ([-1],), ([1],)]),
    "ReduceMean": ((2, 3, 4), ["a"], {"noop_with_empty_axes": 1}, [([],), ([],)]),
    "ReduceLogSumExp": ((3, 4), ["a"], {"keepdims": 0}, [([0],), ([-1],)]),
    "CumSum": ((2, 3, 4), ["a"], {"reverse": 1}, [(0,), (-1,), (1,), (-2,)]),
    "Pad": ((3, 4, 2), ["p", "v", "a"], {}, [
        ([1, 0, 2, 3], 0.5, [0, 2]), ([-1, 2, 0, -2], 2.5, [1, -3]),
        ([-5, 0, 4, 1], 1.5, [0, 1]), ([0, 0, -1, -2], 0, [-1, -2]),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_axes_that_are_inputs(check, rng, name):
    shape, names, attributes, given = CASES[name]
    x = images(rng, *shape)
    feeds = []
    for values in given:
        own = [np.array(v, F32 if n == "v" else INT) for n, v in zip(names, values, strict=True)]
        feeds.append({"x": x, **dict(zip(names, own, strict=True))})
    check([helper.make_node(name, ["x", *names], ["y"], **attributes)], feeds)
    dims = {"x": [f"d{i}" for i in range(len(shape))]}
    check([helper.make_node(name, ["x", *names], ["y"], **attributes)], feeds, dims=dims)


@pytest.mark.parametrize("mode", ["edge", "reflect", "wrap"])
def test_pads_that_are_inputs_in_every_mode(check, rng, mode):
    x = images(rng, 5, 6)
    pads = ([1, 2, 3, 0], [-2, 1, 2, -1], [0, -3, -1, 2], [2, 2, 2, 2])
    node = helper.make_node("Pad", ["x", "p"], ["y"], mode=mode)
    check([node], [{"x": x, "p": np.array(p, INT)} for p in pads])
    pads = ([1, 2, 3, 0], [-2, 1, 2, -1], [0, -2, -1, 2])
    axes = helper.make_node("Pad", ["x", "p", "", "a"], ["y"], mode=mode)
    feeds = [{"x": x, "p": np.array(p, INT), "a": np.array([-1, 0], INT)} for p in pads]
    check([axes], feeds)


def test_blocks_whose_sizes_are_inputs(check, rng):
    node = helper.make_node("Col2Im", ["x", "i", "b"], ["y"], pads=[0, 1, 0, 1])
    feeds = []
    for image, block in (((5, 5), (1, 5)), ((4, 6), (2, 3)), ((3, 3), (1, 1))):
        counts = [image[0] - block[0] + 1, image[1] + 2 - block[1] + 1]
        x = images(rng, 2, 3 * block[0] * block[1], counts[0] * counts[1])
        feeds.append({"x": x, "i": np.array(image, INT), "b": np.array(block, INT)})
    check([node], feeds)


def test_transforms_along_axes_that_are_inputs(check, rng):
    for attributes in ({}, {"onesided": 1}):
        node = helper.make_node("DFT", ["x", "n", "a"], ["y"], **attributes)
        x = images(rng, 2, 6, 3, 1)
        pairs = ((6, 1), (5, 0), (3, -2), (8, -3))
        feeds = [{"x": x, "n": np.array(n, INT), "a": np.array(a, INT)} for n, a in pairs]
        check([node], feeds)


REFUSED = {
    "Slice": (["s", "e", "a", "d"], [[0], [1], [3], [1]], [[0], [1], [0], [0]]),
    "Squeeze": (["a"], [[0, 0]], [[1]], [[5]]),
    "Unsqueeze": (["a"], [[1, 1]], [[7]], [[-6]]),
    "ReduceSum": (["a"], [[0, -3]], [[3]], [[2**62]]),
    "CumSum": (["a"], [3], [-4], [-(2**63)]),
    "DFT": (["n", "a"], [4, 2], [4, -1], [4, 5]),
    "Col2Im": (["i", "b"], [[2, 2], [0, 1]], [[2, 2], [-1, -1]]),
    "Pad": (["p", "v", "a"], [[1, 1], 0.0, [3]], [[1, 1, 1, 1], 0.0, [1, -2]]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_axes_that_there_are_not(refused, rng, name):
    names, *several = REFUSED[name]
    for values in several:
        own = [np.array(v, F32 if n == "v" else INT) for n, v in zip(names, values, strict=True)]
        feeds = {"x": images(rng, 1, 3, 4), **dict(zip(names, own, strict=True))}
        node = helper.make_node(name, ["x", *names], ["y"])
        assert name in refused([node], feeds)


def test_nothing_is_repeated_of_an_axis_without_elements(refused, rng):
    for mode in ("edge", "wrap", "reflect"):
        node = helper.make_node("Pad", ["x", "p"], ["y"], mode=mode)
        feeds = {"x": images(rng, 3, 2), "p": np.array([-3, 0, 2, 0], INT)}
        assert "Pad" in refused([node], feeds)
