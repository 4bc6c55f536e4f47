"""Kernels of GPUs against onnx.reference, on small shapes that cut blocks, rows and tiles."""

import numpy as np
from onnx import helper

from .cases import parametrize, rng
from .runs import check, floats

node = helper.make_node


@parametrize("shapes", [
    ((3, 5), (3, 5)), ((2, 3, 4), (4,)), ((2, 3, 4), (2, 1, 1)), ((5,), ()),
    ((2, 1, 3), (1, 4, 1)), ((0, 3), (3,)),
])  # fmt: skip
@parametrize("operator", ["Add", "Div", "Less"])
def case_pointwise_broadcasts(operator, shapes):
    x, y = (floats(*shape, seed=seed) for seed, shape in enumerate(shapes))
    check([node(operator, ["x", "y"], ["z"])], {"x": x, "y": y})


@parametrize("operator", [
    "Exp", "Log", "Sqrt", "Erf", "Tanh", "Sigmoid", "Relu", "Floor", "Ceil", "Round", "Sign",
    "Abs", "Neg", "Asin", "Gelu", "HardSwish", "Softplus", "Elu", "Mish", "IsNaN", "IsInf",
])  # fmt: skip
def case_functions_keep_what_is_not_finite(operator):
    special = np.array([0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 0.5, 1.5, 88, -104], np.float32)
    check([node(operator, ["x"], ["y"])], {"x": np.concatenate([special, floats(9)])})


def case_one_pass_for_many_nodes():
    nodes = [
        node("Mul", ["x", "y"], ["a"]),
        node("Sigmoid", ["a"], ["b"]),
        node("Mul", ["a", "b"], ["c"]),
        node("Where", ["m", "c", "y"], ["d"]),
    ]
    feeds = {"x": floats(4, 6), "y": floats(4, 1, seed=1), "m": floats(4, 6) > 0}
    session = check(nodes, feeds)
    np.testing.assert_equal(len(session.engine.program.steps), 1)


@parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64", "float64"])
@parametrize("operator", ["Add", "Mul", "Max", "Greater"])
def case_numbers_of_other_types(operator, dtype):
    x, y = (rng().integers(0, 100, (3, 7)).astype(dtype) for _ in range(2))
    check([node(operator, ["x", "y"], ["z"])], {"x": x, "y": y})


@parametrize("dtype", ["int32", "int64", "uint8"])
@parametrize("operator", ["Div", "Mod"])
def case_integers_are_divided(operator, dtype):
    x = rng().integers(0, 100, 20).astype(dtype) if dtype[0] == "u" else rng().integers(-50, 50, 20)
    y = np.tile(np.array([1, 3, 7, 50]), 5)
    z = node(operator, ["x", "y"], ["z"])
    check([z], {"x": x.astype(dtype), "y": y.astype(dtype)})


@parametrize("to", ["FLOAT", "DOUBLE", "INT64", "INT32", "UINT8", "BOOL"])
def case_casts(to):
    from onnx import TensorProto

    x = np.array([0.0, 0.5, -1.5, 3.99, 100.0], np.float32)
    x = np.abs(x) if to == "UINT8" else x
    check([node("Cast", ["x"], ["y"], to=getattr(TensorProto, to))], {"x": x})


@parametrize("order", [(1, 0, 2), (2, 1, 0), (2, 0, 1)])
@parametrize("dtype", ["float32", "int64", "uint8", "bool"])
def case_transposes(order, dtype):
    x = (floats(3, 4, 5) * 10).astype(dtype) if dtype != "uint8" else np.arange(60, dtype="uint8")
    check([node("Transpose", ["x"], ["y"], perm=order)], {"x": x.reshape(3, 4, 5)})


@parametrize("axis", [0, 1, 2])
def case_concat_and_split(axis):
    x, y = floats(2, 4, 6), floats(2, 4, 6, seed=1)
    check([node("Concat", ["x", "y", "x"], ["z"], axis=axis)], {"x": x, "y": y})
    check([node("Split", ["x"], ["a", "b"], axis=axis, num_outputs=2)], {"x": x})


@parametrize("kind", ["Sum", "Mean", "Max", "Min", "Prod", "SumSquare", "L1", "L2"])
@parametrize("axes", [[0], [1], [0, 2], [1, 2], [0, 1, 2]])
def case_reductions(kind, axes):
    given = {"axes": np.array(axes)}
    check([node(f"Reduce{kind}", ["x", "axes"], ["y"], keepdims=0)], {"x": floats(3, 4, 70)}, given)


def case_a_maximum_with_nan_is_nan():
    x = floats(2, 40)
    x[1, 33] = np.nan
    axes = {"axes": np.array([1])}
    session = check([node("ReduceMax", ["x", "axes"], ["y"])], {"x": floats(2, 40)}, axes)
    np.testing.assert_equal(np.isnan(session.run(None, {"x": x})[0]).tolist(), [[False], [True]])


@parametrize("axis", [0, 1, -1])
@parametrize("operator", ["Softmax", "LogSoftmax"])
def case_softmax(operator, axis):
    check([node(operator, ["x"], ["y"], axis=axis)], {"x": floats(3, 5, 45) * 4})


@parametrize("size", [5, 40, 1100])
def case_layers_are_normalized(size):
    weights = {"s": floats(size, seed=1), "b": floats(size, seed=2)}
    check([node("LayerNormalization", ["x", "s", "b"], ["y"])], {"x": floats(3, size)}, weights)
    check([node("RMSNormalization", ["x", "s"], ["y"])], {"x": floats(3, size)}, weights)


@parametrize("axis", [0, 1, -1])
def case_gather(axis):
    indices = {"i": np.array([[0, -1], [1, 1]])}
    check([node("Gather", ["x", "i"], ["y"], axis=axis)], {"x": floats(3, 4, 5)}, indices)


def case_gather_of_elements_and_places():
    x, i = floats(3, 4), rng().integers(-3, 3, (2, 4))
    check([node("GatherElements", ["x", "i"], ["y"], axis=0)], {"x": x, "i": i})
    places = rng().integers(-3, 3, (5, 2))
    check([node("GatherND", ["x", "i"], ["y"])], {"x": x, "i": places})


@parametrize("shapes", [
    ((3, 5), (5, 4)), ((9, 3), (3, 17)), ((2, 3, 5), (5, 4)), ((2, 3, 5), (2, 5, 4)),
    ((2, 1, 3, 5), (3, 5, 2)), ((5,), (5, 3)), ((3, 5), (5,)), ((1, 1), (1, 1)),
])  # fmt: skip
@parametrize("dtype", ["float32", "float64"])
def case_products(shapes, dtype):
    a, b = (floats(*shape, seed=seed).astype(dtype) for seed, shape in enumerate(shapes))
    check([node("MatMul", ["a", "b"], ["y"])], {"a": a, "b": b})
    check([node("MatMul", ["a", "b"], ["y"])], {"a": a}, {"b": b})


@parametrize("turned", [(0, 0), (1, 0), (0, 1), (1, 1)])
@parametrize("c", [None, (7,), (1, 7), (4, 1), ()])
def case_gemm(turned, c):
    a, b = floats(*((6, 4) if turned[0] else (4, 6))), floats(*((7, 6) if turned[1] else (6, 7)))
    names, weights = ["a", "b"], {"b": b}
    if c is not None:
        names, weights = [*names, "c"], {**weights, "c": floats(*c, seed=3)}
    for alpha, beta in ((1.0, 1.0), (0.5, 2.0)):
        gemm = node(
            "Gemm", names, ["y"], transA=turned[0], transB=turned[1], alpha=alpha, beta=beta
        )
        check([gemm], {"a": a}, weights)


@parametrize("options", [
    {}, {"pads": [1, 1, 1, 1]}, {"strides": [2, 2], "pads": [1, 0, 2, 1]}, {"dilations": [2, 1]},
    {"group": 2}, {"auto_pad": "SAME_UPPER", "strides": [2, 1]},
])  # fmt: skip
def case_convolutions(options):
    group = options.get("group", 1)
    weights = {"w": floats(6, 4 // group, 3, 2), "b": floats(6, seed=1)}
    check([node("Conv", ["x", "w", "b"], ["y"], **options)], {"x": floats(2, 4, 7, 6)}, weights)


def case_convolutions_of_signals_volumes_and_channels():
    check([node("Conv", ["x", "w"], ["y"])], {"x": floats(2, 3, 9)}, {"w": floats(4, 3, 4)})
    weights = {"w": floats(2, 3, 2, 2, 3)}
    check([node("Conv", ["x", "w"], ["y"])], {"x": floats(1, 3, 4, 4, 5)}, weights)
    depthwise = node("Conv", ["x", "w"], ["y"], group=4, pads=[1, 1, 1, 1])
    check([depthwise], {"x": floats(1, 4, 5, 5)}, {"w": floats(4, 1, 3, 3)})


@parametrize("options", [
    {"kernel_shape": [2, 2], "strides": [2, 2]}, {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "dilations": [2, 1]},
])  # fmt: skip
def case_poolings(options):
    check([node("MaxPool", ["x"], ["y"], **options)], {"x": floats(2, 3, 7, 6)})
    for counted in (0, 1):
        mean = node("AveragePool", ["x"], ["y"], count_include_pad=counted, **options)
        check([mean], {"x": floats(2, 3, 7, 6)})


def case_global_pooling():
    for operator in ("GlobalAveragePool", "GlobalMaxPool"):
        check([node(operator, ["x"], ["y"])], {"x": floats(2, 3, 7, 6)})
