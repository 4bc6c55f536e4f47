"""Tensors filled by rule."""

import numpy as np
import pytest
from onnx import numpy_helper
from onnx.helper import make_node

TYPES = ["float32", "float64", "float16", "bool", "int8", "int32", "int64", "uint8"]
KINDS = {"float32": 1, "float64": 11, "float16": 10, "bool": 9, "int8": 3, "int32": 6, "int64": 7,
         "uint8": 2}  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES)
def test_constant_of_shape(check, dtype):
    value = numpy_helper.from_array(np.array([1], dtype))
    make = make_node("ConstantOfShape", ["s"], ["y"], value=value)
    nodes = [make_node("Shape", ["x"], ["s"]), make]
    feeds = [{"x": np.zeros(s, np.float32)} for s in ((2, 3), (1, 1), (0, 4), (90, 80))]
    check(nodes, feeds)
    check(nodes, {"x": np.zeros((), np.float32)})
    check([make], {"s": np.array([2, 3])})


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int32", "int64"])
def test_range(check, dtype):
    node = make_node("Range", ["a", "b", "c"], ["y"])
    for start, limit, step in ((0, 5, 1), (10, 0, -3), (3, 3, 1), (5, 2, 1), (-4, 9, 2)):
        numbers = {n: np.array(v, dtype) for n, v in zip("abc", (start, limit, step), strict=True)}
        add = make_node("Add", ["y", "x"], ["z"])
        check([node, add], {"x": np.ones(1, dtype)}, numbers, outputs=["y", "z"])
        check([node], numbers)


def test_range_of_fractions(check):
    node = make_node("Range", ["a", "b", "c"], ["y"])
    for start, limit, step in ((0, 1, 0.1), (0.5, -2, -0.25), (0, 0.95, 0.3)):
        numbers = {
            n: np.array(v, np.float32) for n, v in zip("abc", (start, limit, step), strict=True)
        }
        add = make_node("Add", ["y", "x"], ["z"])
        check([node, add], {"x": np.ones(1, np.float32)}, numbers)


def test_range_over_a_size_of_the_input(check):
    nodes = [
        make_node("Shape", ["x"], ["s"]),
        make_node("Gather", ["s", "one"], ["n"]),
        make_node("Range", ["zero", "n", "step"], ["y"]),
    ]
    numbers = {"one": np.array(1), "zero": np.array(0), "step": np.array(2)}
    check(nodes, [{"x": np.zeros((2, n), np.float32)} for n in (5, 0, 8)], numbers)


@pytest.mark.parametrize("dtype", TYPES)
def test_triangles(check, dtype):
    x = np.random.default_rng(0).integers(1, 2 if dtype == "bool" else 9, (2, 4, 6)).astype(dtype)
    for upper in (0, 1):
        for k in (None, 0, 2, -1, 9, -9):
            names = ["x"] if k is None else ["x", "k"]
            weights = {} if k is None else {"k": np.array(k)}
            wanted = (np.triu if upper else np.tril)(x, k or 0)
            check(
                [make_node("Trilu", names, ["y"], upper=upper)],
                {"x": x},
                weights,
                wanted=[[wanted]],
            )


def test_triangles_of_other_layouts(check):
    turn = make_node("Transpose", ["v"], ["x"], perm=[2, 0, 1])
    v = np.random.default_rng(0).standard_normal((4, 5, 3), np.float32)
    check([turn, make_node("Trilu", ["x"], ["y"])], {"v": v})
    feeds = [{"x": np.ones(s, np.float32)} for s in ((3, 4), (1, 9), (60, 70), (0, 3))]
    check([make_node("Trilu", ["x"], ["y"], upper=0)], feeds, threads=[1, 4])


@pytest.mark.parametrize("dtype", TYPES)
def test_identities(check, dtype):
    for k in (0, 1, -2):
        node = make_node("EyeLike", ["x"], ["y"], k=k, dtype=KINDS[dtype])
        wanted = [[np.eye(3, 5, k, dtype)]]
        check([node], {"x": np.zeros((3, 5), np.float32)}, wanted=wanted)
    node = make_node("EyeLike", ["x"], ["y"])
    feeds = [{"x": np.zeros(shape, np.float32)} for shape in ((3, 5), (7, 2), (0, 3), (90, 80))]
    check([node], feeds, dims={"x": ["A", "B"]}, threads=[1, 3])


@pytest.mark.parametrize("kind", ["int64", "int32", "float32"])
def test_one_hot(check, kind):
    indices = np.array([[0, 3, -1], [4, -4, -5]]).astype(kind)
    for axis in (-1, 0, 1):
        for dtype in ("float32", "int64"):
            node = make_node("OneHot", ["i", "d", "v"], ["y"], axis=axis)
            weights = {"d": np.array(4), "v": np.array([2, 5], dtype)}
            wanted = (
                np.arange(4) == np.where((indices < 4) & (indices >= -4), indices % 4, 9)[..., None]
            )
            wanted = np.moveaxis(np.where(wanted, 5, 2).astype(dtype), -1, axis)
            check([node], {"i": indices}, weights, wanted=[[wanted]])
            check([node], {"i": indices, "v": weights["v"]}, {"d": weights["d"]}, wanted=[[wanted]])


def test_dropout_drops_nothing(check):
    x = {"x": np.random.default_rng(0).standard_normal((3, 4), np.float32)}
    for outputs in (["y"], ["y", "m"]):
        check([make_node("Dropout", ["x", "r"], outputs)], x, {"r": np.array(0.5, np.float32)})
