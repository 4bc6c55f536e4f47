"""Gather and scatter: types, axes, layouts, wrong indices."""

import itertools

import numpy as np
import pytest
from onnx.helper import make_node

TYPES = ["float32", "float64", "float16", "bool", "int8", "int16", "int32", "int64", "uint8"]


def values(dtype, *shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return np.asarray(rng.integers(0, 2 if dtype == "bool" else 100, shape)).astype(dtype)


def indices(low, high, *shape, dtype="int64"):
    return np.asarray(np.random.default_rng([9, *shape]).integers(low, high, shape)).astype(dtype)


def turned(shape):
    """A node that makes x from a transposed v, and v's shape."""
    last = len(shape) - 1
    node = make_node("Transpose", ["v"], ["x"], perm=[last, *range(last)])
    return node, (*shape[1:], shape[0])


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", ["int32", "int64"])
def test_gather(check, dtype, kind):
    for axis, shape in itertools.product((0, 1, -1), ((), (3,), (2, 2), (0,))):
        feeds = {"x": values(dtype, 4, 5, 6), "i": indices(-4, 4, *shape, dtype=kind)}
        node = make_node("Gather", ["x", "i"], ["y"], axis=axis)
        check([node], feeds)
        check([node], {"x": feeds["x"]}, {"i": feeds["i"]})


def test_gather_of_other_layouts_and_sizes(check):
    node = make_node("Gather", ["x", "i"], ["y"], axis=1)
    turn, shape = turned((4, 5, 6))
    for i in (np.array(-2), np.array([3, 0, -1])):
        check([turn, node], {"v": values("float32", *shape)}, {"i": i})
        conv = make_node("Conv", ["c", "w"], ["x"])
        weights = {"w": values("float32", 8, 3, 1, 1), "i": i}
        check([conv, node], {"c": values("float32", 2, 3, 4, 5)}, weights)
    feeds = [
        {"x": values("float32", *s), "i": indices(0, 4, *s[:1])} for s in ((3, 4), (50, 9), (0, 5))
    ]
    check([node], feeds, threads=[1, 4])


@pytest.mark.parametrize("dtype", TYPES)
def test_gather_elements(check, dtype):
    for axis in (0, 1, -1):
        feeds = {"x": values(dtype, 4, 5, 6), "i": indices(-4, 4, 3, 4, 5)}
        node = make_node("GatherElements", ["x", "i"], ["y"], axis=axis)
        check([node], feeds)
        check([node], {**feeds, "i": feeds["i"].astype(np.int32)})
        turn, shape = turned((4, 5, 6))
        check([turn, node], {"v": values(dtype, *shape), "i": feeds["i"]})


@pytest.mark.parametrize("dtype", TYPES)
def test_gather_nd(check, dtype):
    for batch, shape in [
        (0, (2, 1)),
        (0, (3, 2)),
        (0, (2, 2, 3)),
        (1, (3, 2)),
        (1, (3, 4, 1)),
        (2, (3, 4, 1)),
    ]:
        feeds = {"x": values(dtype, 3, 4, 5, 2), "i": indices(-3, 3, *shape)}
        node = make_node("GatherND", ["x", "i"], ["y"], batch_dims=batch)
        check([node], feeds)
        turn, other = turned((3, 4, 5, 2))
        check([turn, node], {"v": values(dtype, *other), "i": feeds["i"]})


SCATTERED = ["none", "add", "mul", "min", "max"]


@pytest.mark.parametrize("reduction", SCATTERED)
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8", "uint32"])
def test_scatter_elements(check, dtype, reduction):
    for axis in (0, 1, -1):
        i = indices(-4, 4, 3, 4, 2)
        if reduction == "none":
            # Where an index comes twice, which update stays is not defined.
            i = np.sort(i, axis) * 0 + np.arange(i.shape[axis]).reshape(
                [-1 if a == axis % 3 else 1 for a in range(3)]
            )
        feeds = {"x": values(dtype, 4, 5, 6), "i": i, "u": values(dtype, 3, 4, 2, seed=1) % 5}
        node = make_node("ScatterElements", ["x", "i", "u"], ["y"], axis=axis, reduction=reduction)
        check([node], feeds, threads=[1, 4])
        turn, shape = turned((4, 5, 6))
        check([turn, node], {"v": values(dtype, *shape), "i": i, "u": feeds["u"]})


@pytest.mark.parametrize("reduction", SCATTERED)
@pytest.mark.parametrize("dtype", ["float32", "int32", "uint64"])
def test_scatter_nd(check, dtype, reduction):
    for rows in ([[0], [2]], [[1, -1], [0, 3]], [[0, 1, 2], [3, 4, -1], [0, 0, 0]]):
        i = np.array(rows)
        u = values(dtype, len(rows), *(4, 5, 6)[i.shape[1] :], seed=1) % 5
        feeds = {"x": values(dtype, 4, 5, 6), "i": i, "u": u}
        node = make_node("ScatterND", ["x", "i", "u"], ["y"], reduction=reduction)
        check([node], feeds, threads=[1, 4])
    if reduction != "none":
        many = {"i": np.zeros((500, 1), np.int64), "u": np.ones((500, 3), dtype)}
        check([node], {"x": values(dtype, 2, 3), **many}, threads=[1, 4])


def test_inputs_stay_as_they_were(check):
    node = make_node("ScatterElements", ["x", "i", "u"], ["y"])
    add = make_node("Add", ["x", "y"], ["z"])
    feeds = {"x": values("float32", 4, 3), "i": indices(0, 4, 1, 3), "u": values("float32", 1, 3)}
    before = feeds["x"].copy()
    check([node, add], feeds, outputs=["y", "z"])
    check([node, add], {"i": feeds["i"]}, {"x": before, "u": feeds["u"]})
    np.testing.assert_array_equal(feeds["x"], before)


@pytest.mark.parametrize("index", [4, -5, 2**40])
def test_indices_out_of_range_are_refused(refused, index):
    x, i = values("float32", 4, 3), np.array([[index]])
    u = values("float32", 1, 1)
    for op_type, feeds in [
        ("Gather", {"x": x, "i": i}),
        ("GatherElements", {"x": x, "i": i}),
        ("GatherND", {"x": x, "i": i}),
        ("ScatterElements", {"x": x, "i": i, "u": u}),
        ("ScatterND", {"x": x, "i": i, "u": values("float32", 1, 3)}),
    ]:
        node = make_node(op_type, list(feeds), ["y"], name="lookup")
        message = refused([node], feeds)
        assert "lookup" in message
        assert f"index {index} out of range in 'i': expected -4 to 3" in message
    node = make_node("GatherND", ["x", "i"], ["y"], name="lookup")
    message = refused([node], {"x": x, "i": np.array([[1, index]])})
    ranges = "-4 to 3 on axis 0, -3 to 2 on axis 1"
    assert f"index {index} out of range in 'i': expected {ranges}" in message
    message = refused([make_node("Gather", ["x", "i"], ["y"])], {"x": x[:0], "i": i})
    assert f"index {index} out of range in 'i': expected none" in message


def test_sizes_that_do_not_fit_are_refused(refused):
    feeds = {"x": values("float32", 4, 3), "i": indices(0, 3, 2, 5), "u": values("float32", 2, 5)}
    named = {"x": ["A", "B"], "i": ["C", "D"]}
    refused(
        [make_node("GatherElements", ["x", "i"], ["y"])], {n: feeds[n] for n in "xi"}, dims=named
    )
    node = make_node("ScatterElements", ["x", "i", "u"], ["y"])
    refused([node], feeds, dims={**named, "u": ["E", "F"]})
