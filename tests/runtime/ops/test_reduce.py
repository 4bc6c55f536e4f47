"""Reductions and softmaxes: types, axes, layouts, empty tensors, special values."""

import itertools

import numpy as np
import pytest
from onnx.helper import make_node

REDUCTIONS = {
    "ReduceSum": ["float32", "float64", "int32", "int64"],
    "ReduceMean": ["float32", "float64", "int32"],
    "ReduceMax": ["float32", "float64", "int32", "int64", "int8", "uint8"],
    "ReduceMin": ["float32", "float64", "int32", "int64", "int8", "uint8"],
    "ReduceProd": ["float32", "float64", "int32", "int64"],
    "ReduceSumSquare": ["float32", "float64", "int32"],
    "ReduceL1": ["float32", "int32"],
    "ReduceL2": ["float32"],
    "ReduceLogSum": ["float32", "float64"],
    "ReduceLogSumExp": ["float32", "float64"],
}
every_reduction = pytest.mark.parametrize("name", REDUCTIONS)


def values(dtype, *shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    if dtype.startswith("float"):
        return np.asarray(rng.standard_normal(shape), dtype)
    return rng.integers(0 if dtype[0] == "u" else -5, 6, shape).astype(dtype)


def positive(name, x):
    """Logarithms are of sums that are not negative."""
    return np.abs(x) + x.dtype.type(0.1) if name == "ReduceLogSum" else x


def reduction(name, **attributes):
    return make_node(name, ["x", "axes"], ["y"], **attributes)


@pytest.mark.parametrize(("name", "dtype"), [(n, t) for n, ts in REDUCTIONS.items() for t in ts])
def test_every_type(check, name, dtype):
    x = positive(name, values(dtype, 3, 4, 5))
    for axes in ([0], [-1], [0, 2]):
        check([reduction(name)], {"x": x}, {"axes": np.array(axes)})


@every_reduction
def test_all_sets_of_axes(check, name):
    x = positive(name, values("float32", 2, 3, 4, 5))
    for count in range(1, 5):
        for axes in itertools.combinations(range(4), count):
            for keep in (0, 1):
                signed = [axis - 4 if axis % 2 else axis for axis in axes]
                node = reduction(name, keepdims=keep)
                check([node], {"x": x}, {"axes": np.array(signed)}, threads=[1 + 3 * keep])


@every_reduction
def test_no_axes(check, name):
    x = positive(name, values("float32", 3, 4))
    for attributes in ({}, {"keepdims": 0}):
        check([make_node(name, ["x"], ["y"], **attributes)], {"x": x})
        check([reduction(name, **attributes)], {"x": x}, {"axes": np.zeros(0, np.int64)})
    check([make_node(name, ["x"], ["y"])], {"x": positive(name, values("float32"))})


@every_reduction
def test_named_dimensions(check, name):
    feeds = [
        {"x": positive(name, values("float32", *s))} for s in ((3, 4), (1, 1), (200, 90), (0, 4))
    ]
    for axis in ([1], [0, 1]):
        some = feeds[:3] if 0 in axis else feeds
        check([reduction(name)], some, {"axes": np.array(axis)}, threads=[1, 4])


@every_reduction
def test_channels_last_images(check, name):
    conv = make_node("Conv", ["x", "w"], ["c"])
    absolute = make_node("Abs", ["c"], ["a"])
    weights = {"w": values("float32", 9, 3, 2, 2)}
    x = {"x": values("float32", 2, 3, 5, 6)}
    for axes in ([1], [2, 3], [0], [3], [0, 2, 3], [1, 3], [0, 1, 2, 3]):
        node = make_node(name, ["a", "axes"], ["y"])
        check([conv, absolute, node], x, weights | {"axes": np.array(axes)})


@every_reduction
def test_transposed_and_sliced_inputs(check, name):
    turn = make_node("Transpose", ["t"], ["x"], perm=[2, 0, 3, 1])
    for axes in ([0], [1], [3], [0, 3], [1, 2]):
        x = {"t": positive(name, values("float32", 3, 4, 5, 2))}
        check([turn, reduction(name)], x, {"axes": np.array(axes)})
    bounds = {"s": np.array([1]), "e": np.array([8]), "i": np.array([1]), "p": np.array([2])}
    cut = make_node("Slice", ["t", "s", "e", "i", "p"], ["x"])
    for axes in ([0], [1], [0, 1]):
        x = {"t": positive(name, values("float32", 5, 9))}
        check([cut, reduction(name)], x, bounds | {"axes": np.array(axes)})


@pytest.mark.parametrize(
    "name", ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"]
)
def test_special_values(check, name):
    x = values("float32", 4, 40)
    x[0, 3], x[1, 5], x[2, 7], x[2, 9] = np.nan, np.inf, -np.inf, np.inf
    function = {"Sum": np.sum, "Mean": np.mean, "Max": np.max, "Min": np.min, "Prod": np.prod}
    for axis in (0, 1):
        # onnxruntime's extremes overlook NaN, unlike the standard's reference.
        with np.errstate(invalid="ignore"):
            wanted = function[name[6:]](x, axis=axis, keepdims=True)
        check([reduction(name)], {"x": x}, {"axes": np.array([axis])}, wanted=[[wanted]])


def test_exponentials_do_not_overflow(check):
    x = {"x": np.array([[1000, 999], [-1000, -1001], [-np.inf, 0]], np.float32)}
    check([reduction("ReduceLogSumExp")], x, {"axes": np.array([1])})


def test_many_axes(check):
    turn = make_node("Transpose", ["t"], ["x"], perm=[5, 0, 4, 1, 3, 2])
    x = {"t": values("float32", 2, 3, 2, 3, 2, 3)}
    for axes in ([0, 2, 4], [1, 3, 5], [0, 5]):
        check([turn, reduction("ReduceSum")], x, {"axes": np.array(axes)})


def test_large_sums_are_exact_enough(check):
    x = np.full((3, 100_000), 0.1, np.float32)
    for name, wanted in (("ReduceSum", 10_000), ("ReduceMean", 0.1)):
        exact = np.full((3, 1), wanted, np.float32)
        weights = {"axes": np.array([1])}
        for threads in (1, 4):
            check(
                [reduction(name)],
                {"x": x},
                weights,
                threads=[threads],
                tolerance=1e-5,
                wanted=[[exact]],
            )


def test_results_that_are_outputs_and_go_on(check):
    nodes = [reduction("ReduceMax"), make_node("Sub", ["x", "y"], ["z"])]
    x = {"x": values("float32", 3, 7)}
    check(nodes, x, {"axes": np.array([1])}, outputs=["y", "z"])


@every_reduction
def test_reductions_of_nothing(check, name):
    """As onnxruntime has them: a mean of nothing is 0."""
    for dtype in REDUCTIONS[name]:
        for shape, axes in (((0, 3), [0]), ((2, 0), [1]), ((0, 2, 3), [0, 2])):
            x, weights = {"x": np.zeros(shape, dtype)}, {"axes": np.array(axes)}
            check([reduction(name)], x, weights)
            check([reduction(name)], x, weights, dims={"x": list("NMK")[: len(shape)]})


def test_halves_in_strict_precision(check):
    for name, dtype in (
        ("ReduceSum", "float16"),
        ("ReduceMax", "float16"),
    ):
        node = reduction(name)
        x = {"x": values(dtype, 3, 4)}
        axes = {"axes": np.array([1])}
        check([node], x, axes, tolerance=1e-2, precision="strict")


# --- softmax ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax_along_every_axis(check, name):
    for axis in (-1, 0, 1, 2, 3, -3):
        node = make_node(name, ["x"], ["y"], axis=axis)
        check([node], {"x": values("float32", 2, 9, 4, 17)}, threads=[1, 4])
        conv = make_node("Conv", ["c", "w"], ["x"])
        weights = {"w": values("float32", 9, 3, 1, 1)}
        check([conv, node], {"c": values("float32", 2, 3, 4, 5)}, weights)
        turn = make_node("Transpose", ["t"], ["x"], perm=[3, 1, 0, 2])
        check([turn, node], {"t": values("float32", 2, 9, 4, 17)})


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax_of_any_size(check, name):
    sizes = [(n, m) for n in (0, 1, 3) for m in (1, 7, 8, 9, 16, 33, 1000)]
    feeds = [{"x": values("float32", n, m)} for n, m in sizes]
    for axis in (0, 1):
        some = feeds if axis == 1 else [feed for feed in feeds if feed["x"].shape[0]]
        check([make_node(name, ["x"], ["y"], axis=axis)], some, threads=[1, 4])


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax_of_large_and_special_values(check, name):
    node = make_node(name, ["x"], ["y"])
    check([node], {"x": np.array([[1000, 999, -1000], [-1e30, 0, 1e30]], np.float32)})
    # A masked element, and a row that is not a number.
    x = np.array([[-np.inf, 0, 1], [np.nan, 0, 1]], np.float32)
    check([node], {"x": x})


@pytest.mark.parametrize("opset", [11, 12])
def test_softmax_of_older_models(check, opset):
    for axis in (0, 1, 2, -1):
        for name in ("Softmax", "LogSoftmax"):
            x = {"x": values("float32", 3, 4, 5)}
            check([make_node(name, ["x"], ["y"], axis=axis)], x, opset=opset)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax"])
def test_softmax_of_float64(check, name):
    for axis in (-1, 0, 1):
        node = make_node(name, ["x"], ["y"], axis=axis)
        for opset in (11, 22):
            x = {"x": values("float64", 3, 40, 5)}
            check([node], x, opset=opset, threads=[1, 4], tolerance=1e-12)


WHOLE = ["int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("dtype", [*WHOLE, "int8", "uint8", "bool"])
@pytest.mark.parametrize("name", ["ReduceSum", "ReduceProd", "ReduceL1", "ReduceMax", "ReduceMin"])
def test_whole_numbers_wrap_around(check, name, dtype):
    """onnxruntime computes some of these in floats; the standard has numbers that wrap."""
    if dtype not in WHOLE and name not in ("ReduceMax", "ReduceMin"):
        return
    whole = {"ReduceSum": np.sum, "ReduceProd": np.prod, "ReduceMax": np.max, "ReduceMin": np.min}
    rng = np.random.default_rng(0)
    if dtype == "bool":
        x = rng.random((2, 3, 5, 70)) < 0.5
    else:
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, (2, 3, 5, 70), dtype, endpoint=True)
    for axes in ((1,), (3,), (0, 2), (0, 1, 2, 3)):
        reduce = whole.get(name, lambda x, axes, **given: np.sum(np.abs(x), axes, **given))
        given = {} if name in ("ReduceMax", "ReduceMin") else {"dtype": dtype}
        wanted = [[np.asarray(reduce(x, axes, keepdims=True, **given))]]
        weights = {"axes": np.array(axes)}
        check([reduction(name)], {"x": x}, weights, threads=[1, 4], wanted=wanted, opset=20)
