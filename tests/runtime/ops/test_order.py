"""ArgMax, ArgMin, TopK and CumSum."""

import itertools

import numpy as np
import pytest
from onnx.helper import make_node

TYPES = ["float32", "float64", "int64", "int32", "uint64", "uint32"]


def values(dtype, *shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    if dtype.startswith("float"):
        return np.asarray(rng.standard_normal(shape), dtype)
    return rng.integers(0 if dtype[0] == "u" else -9, 10, shape).astype(dtype)


@pytest.mark.parametrize("dtype", [*TYPES, "int8", "uint8", "int16", "uint16"])
@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
def test_extremes(check, name, dtype):
    for axis, keep, last in itertools.product((0, 1, -1), (0, 1), (0, 1)):
        node = make_node(name, ["x"], ["y"], axis=axis, keepdims=keep, select_last_index=last)
        check([node], {"x": values(dtype, 3, 20, 5)}, threads=[1 + 3 * keep])


@pytest.mark.parametrize("dtype", [*TYPES, "int16", "uint16"])
def test_top_k(check, dtype):
    # Distinct values: in which order equal ones come is not the same everywhere.
    x = np.random.default_rng(0).permutation(3 * 20 * 5).reshape(3, 20, 5).astype(dtype)
    for axis, largest, k in itertools.product((0, 1, -1), (0, 1), (0, 1, 3)):
        node = make_node("TopK", ["x", "k"], ["y", "i"], axis=axis, largest=largest)
        check([node], {"x": x}, {"k": np.array([k])}, threads=[1, 4])


def test_top_k_of_equal_and_special_values(check):
    node = make_node("TopK", ["x", "k"], ["y", "i"])
    x = np.array([[1, 3, 3, 2, 3], [np.inf, -np.inf, 0, np.inf, 5]], np.float32)
    check([node], {"x": x}, {"k": np.array([4])})
    check([node], {"x": x, "k": np.array([2])})


def test_more_than_there_are_is_refused(refused):
    node = make_node("TopK", ["x", "k"], ["y", "i"], name="top")
    for dims in (None, {"x": ["M", "N"]}):
        refused([node], {"x": values("float32", 2, 3)}, {"k": np.array([4])}, dims=dims)


@pytest.mark.parametrize("dtype", TYPES)
def test_cumulative(check, dtype):
    for axis, exclusive, reverse in itertools.product((0, 1, -1), (0, 1), (0, 1)):
        node = make_node("CumSum", ["x", "a"], ["y"], exclusive=exclusive, reverse=reverse)
        check([node], {"x": values(dtype, 3, 20, 5)}, {"a": np.array(axis)}, threads=[1, 4])


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_cumulative_products(check, dtype):
    x = values(dtype, 3, 20, 5)
    for axis, exclusive, reverse in itertools.product((0, -2), (0, 1), (0, 1)):
        node = make_node("CumProd", ["x", "a"], ["y"], exclusive=exclusive, reverse=reverse)
        check([node], {"x": x}, {"a": np.array(axis)}, threads=[1, 4], opset=26)


def test_the_largest_is_one(check):
    x = values("float32", 3, 20, 5)
    x[0, 3] = x[0, 7] = 1e9
    for axis in (0, 1, -1):
        node = make_node("Hardmax", ["x"], ["y"], axis=axis)
        check([node], {"x": x}, threads=[1, 4])
        check([node], [{"x": x}, {"x": x[:1, :, :2]}], threads=[1, 4])


def test_other_layouts(check):
    turn = make_node("Transpose", ["v"], ["x"], perm=[2, 0, 1])
    v = {"v": values("float32", 4, 5, 6)}
    k = {"k": np.array([2])}
    check([turn, make_node("ArgMax", ["x"], ["y"], axis=1)], v)
    check([turn, make_node("TopK", ["x", "k"], ["y", "i"], axis=1)], v, k)
    check([turn, make_node("CumSum", ["x", "a"], ["y"])], v, {"a": np.array(1)})
    check([turn, make_node("Hardmax", ["x"], ["y"], axis=1)], v)
    conv = make_node("Conv", ["c", "w"], ["x"])
    image = {"c": values("float32", 2, 3, 4, 5)}
    w = {"w": values("float32", 8, 3, 1, 1)}
    check([conv, make_node("ArgMax", ["x"], ["y"], axis=1)], image, w)
    check([conv, make_node("TopK", ["x", "k"], ["y", "i"], axis=1)], image, w | k)
    check([conv, make_node("CumSum", ["x", "a"], ["y"])], image, w | {"a": np.array(1)})


def test_named_dimensions(check):
    feeds = [{"x": values("float32", *s)} for s in ((3, 4), (1, 9), (70, 50), (0, 5))]
    check([make_node("ArgMin", ["x"], ["y"], axis=1)], feeds, threads=[1, 4])
    check([make_node("TopK", ["x", "k"], ["y", "i"])], feeds, {"k": np.array([3])}, threads=[1, 4])
    check([make_node("CumSum", ["x", "a"], ["y"])], feeds, {"a": np.array(0)}, threads=[1, 4])


def test_halves_are_ordered_as_floats(check):
    x = values("float32", 3, 4).astype(np.float16)
    check([make_node("ArgMax", ["x"], ["y"])], {"x": x}, precision="strict")
