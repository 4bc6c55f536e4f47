"""Products and convolutions of integers on the simulated GPU, which are exact."""

import numpy as np
from onnx import helper

from .both import same_as_cpu
from .cases import parametrize
from .runs import check, floats

node = helper.make_node


def drawn(dtype, *shape, seed=0):
    info = np.iinfo(dtype)
    numbers = np.random.default_rng(seed).integers(max(info.min, -300), min(info.max, 300), shape)
    return numbers.astype(dtype)


@parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def case_products_of_wide_integers(dtype):
    a, b = drawn(dtype, 2, 3, 5), drawn(dtype, 5, 4, seed=1)
    check([node("MatMul", ["a", "b"], ["y"])], {"a": a, "b": b})


@parametrize("shapes", [((3, 5), (5, 4)), ((2, 3, 5), (2, 5, 4)), ((5,), (5, 2))])
@parametrize("types", [("uint8", "int8"), ("int8", "uint8")])
def case_products_of_bytes(types, shapes):
    a, b = (drawn(t, *s, seed=i) for i, (t, s) in enumerate(zip(types, shapes, strict=True)))
    points = {"p": drawn(types[0], seed=3), "q": drawn(types[1], seed=4)}
    one = node("MatMulInteger", ["a", "b", "p", "q"], ["y"])
    same_as_cpu(one, {"a": a}, {"b": b, **points})
    same_as_cpu(one, {"a": a, "b": b, **points})
    same_as_cpu(node("MatMulInteger", ["a", "b"], ["y"]), {"a": a}, {"b": b})


@parametrize("is_by_row", [False, True])
def case_bytes_of_products(is_by_row):
    count, columns = ((3,), (4,)) if is_by_row else ((), ())
    weights = {
        "b": drawn("int8", 5, 4, seed=1),
        "s": np.full(count, 0.03, np.float32), "p": drawn("uint8", *count),
        "t": np.abs(floats(*columns)) / 9, "q": drawn("int8", *columns, seed=2) // 4,
        "u": np.float32(0.4), "z": np.uint8(7),
    }  # fmt: skip
    one = node("QLinearMatMul", ["a", "s", "p", "b", "t", "q", "u", "z"], ["y"])
    same_as_cpu(one, {"a": drawn("uint8", 3, 5)}, weights)


@parametrize("options", [
    {}, {"pads": [1, 0, 1, 2]}, {"group": 2, "strides": [2, 1]}, {"group": 4, "pads": [1] * 4},
])  # fmt: skip
def case_convolutions_of_bytes(options):
    x = {"x": drawn("uint8", 2, 4, 5, 6)}
    w = drawn("int8", 4, 4 // options.get("group", 1), 3, 2, seed=1)
    one = node("ConvInteger", ["x", "w", "p"], ["y"], **options)
    same_as_cpu(one, x, {"w": w, "p": np.uint8(9)})
    same_as_cpu(one, {**x, "w": w}, {"p": np.uint8(9)})
    weights = {
        "w": w, "p": np.uint8(100), "s": np.float32(0.02), "u": np.float32(0.5), "z": np.uint8(80),
        "t": np.abs(floats(4)) / 30, "q": np.zeros(4, np.int8), "b": drawn("int32", 4),
    }  # fmt: skip
    names = ["x", "s", "p", "w", "t", "q", "u", "z", "b"]
    same_as_cpu(node("QLinearConv", names, ["y"], **options), x, weights)
