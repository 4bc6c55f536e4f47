"""Empty, non-finite and oddly stored inputs: what onnxruntime gives, or an error of ours."""

from __future__ import annotations

import numpy as np
import onnxruntime as ort
import pytest
import sardonyx
from onnx import ValueInfoProto, helper, numpy_helper

NODE = helper.make_node
R = np.random.default_rng(0)
W = R.standard_normal((5, 3, 3, 3)).astype(np.float32)
D = R.standard_normal((3, 1, 3, 3)).astype(np.float32)
M = R.standard_normal((9, 4)).astype(np.float32)


def one(op_type, *constants, **attributes):
    """Make the node of a model with one node, and its constants."""
    names = [f"c{i}" for i in range(len(constants))]
    node = NODE(op_type, ["x", *names], ["y"], name="it", **attributes)
    return [node], dict(zip(names, map(np.asarray, constants), strict=True))


def after_conv(op_type, *constants, **attributes):
    nodes, given = one(op_type, *constants, **attributes)
    nodes[0].input[0] = "a"
    return [NODE("Conv", ["x", "w"], ["a"], pads=[1] * 4), *nodes], {**given, "w": W}


def build(case, rank, dims=None):
    nodes, constants = case
    x = helper.make_tensor_value_info("x", 1, dims or ["a", "b", "c", "d"][:rank])
    y = helper.make_empty_tensor_value_info("y")
    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    imports = [helper.make_opsetid("", 21)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10).SerializeToString()


def peer(model, x):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options).run(None, {"x": x})[0]


# --- not a number, infinity -------------------------------------------------------------------

NON_FINITE = {
    "conv": one("Conv", W, pads=[1] * 4),
    "depthwise": one("Conv", D, pads=[1] * 4, group=3),
    "conv-relu": after_conv("Relu"),
    "conv-clip": after_conv("Clip", np.float32(0), np.float32(6)),
    "conv-sigmoid": after_conv("Sigmoid"),
    "average-pool": one("AveragePool", kernel_shape=[3, 3]),
    "global-average": one("GlobalAveragePool"),
    "relu": one("Relu"),
    "clip": one("Clip", np.float32(-1), np.float32(1)),
    "min": one("Min", np.float32(0)),
    "softmax": one("Softmax", axis=-1),
    "softmax-channels": one("Softmax", axis=1),
    "log-softmax": one("LogSoftmax", axis=-1),
    "matmul": one("MatMul", M),
    **{
        name: one(f"Reduce{name}", np.array([2, 3]))
        for name in ("Sum", "Mean", "L1", "L2", "SumSquare", "LogSumExp")
    },
}


def poisoned(value):
    for place in (0, 200, -1):
        x = R.standard_normal((2, 3, 8, 9)).astype(np.float32)
        x.reshape(-1)[place] = value
        yield x


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", NON_FINITE)
def test_what_is_not_finite_spreads_as_in_onnxruntime(name, value):
    """Forms of convolutions that others than strict sums may have spread it further."""
    model = build(NON_FINITE[name], 4)
    precision = "strict" if name.startswith("conv") else "fp32"
    session = sardonyx.Session(model, threads=1, precision=precision)
    for x in poisoned(value):
        np.testing.assert_allclose(session(x), peer(model, x), rtol=1e-4, atol=1e-5)


MAXIMA = {
    "max-pool": one("MaxPool", kernel_shape=[3, 3], pads=[1] * 4),
    "global-max": one("GlobalMaxPool"),
    "max": one("ReduceMax", np.array([2, 3])),
}


@pytest.mark.parametrize("name", MAXIMA)
def test_a_maximum_of_a_nan_is_always_one(name):
    """In onnxruntime it depends on where in a vector the NaN lies; elsewhere the two agree."""
    model = build(MAXIMA[name], 4)
    session = sardonyx.Session(model, threads=1)
    for x in poisoned(np.nan):
        # What is not finite in the one sum is so where a window holds the NaN.
        touched = np.isnan(session(x))
        assert touched.any()
        clean = np.nan_to_num(x, nan=-1e30)
        np.testing.assert_array_equal(session(x)[~touched], peer(model, clean)[~touched])
    for value in (np.inf, -np.inf):
        for x in poisoned(value):
            np.testing.assert_array_equal(session(x), peer(model, x))


@pytest.mark.parametrize("op_type", ["Max", "Min"])
def test_a_nan_of_any_operand_wins(op_type, rng):
    nodes, constants = one(op_type, rng.standard_normal(40).astype(np.float32))
    nodes[0].input[:] = ["c0", "x"]
    model = build((nodes, constants), 1)
    x = rng.standard_normal(40).astype(np.float32)
    x[[3, 39]] = np.nan
    np.testing.assert_array_equal(sardonyx.Session(model, threads=1)(x), peer(model, x))


# --- nothing ----------------------------------------------------------------------------------

EMPTY = {
    "conv": (one("Conv", W, pads=[1] * 4), (0, 3, 5, 5)),
    "conv-width": (one("Conv", W, pads=[1] * 4), (1, 3, 5, 0)),
    "transposed": (one("ConvTranspose", W.transpose(1, 0, 2, 3)), (0, 3, 5, 5)),
    "max-pool": (one("MaxPool", kernel_shape=[2, 2]), (0, 3, 4, 4)),
    "max-pool-channels": (one("MaxPool", kernel_shape=[2, 2]), (2, 0, 4, 4)),
    "average-pool": (one("AveragePool", kernel_shape=[2, 2]), (0, 3, 4, 4)),
    "global-average": (one("GlobalAveragePool"), (0, 3, 4, 4)),
    "global-average-pixels": (one("GlobalAveragePool"), (1, 3, 0, 4)),
    "norm": (one("BatchNormalization", *[np.ones(3, np.float32)] * 4), (0, 3, 4, 4)),
    "matmul": (one("MatMul", M), (0, 9)),
    "matmul-depth": (one("MatMul", M[:0]), (3, 0)),
    "gemm": (one("Gemm", M), (0, 9)),
    "sum": (one("ReduceSum", np.array([1])), (3, 0, 2)),
    "mean": (one("ReduceMean", np.array([1])), (3, 0, 2)),
    "max": (one("ReduceMax", np.array([1])), (3, 0, 2)),
    "sum-kept": (one("ReduceSum", np.array([1])), (0, 3, 2)),
    "prod": (one("ReduceProd", np.array([0, 1])), (0, 3)),
    "arg-max": (one("ArgMax", axis=1), (0, 3)),
    "arg-max-nothing": (one("ArgMax", axis=1), (3, 0)),
    "softmax": (one("Softmax", axis=1), (0, 3)),
    "softmax-nothing": (one("Softmax", axis=1), (3, 0)),
    "concat": (one("Concat", M, axis=0), (0, 4)),
    "reshape": (one("Reshape", np.array([0, -1])), (2, 0)),
    "reshape-to": (one("Reshape", np.array([4, 0]), allowzero=1), (0, 3)),
    "flatten": (one("Flatten", axis=1), (0, 3, 2)),
    "transpose": (one("Transpose", perm=[1, 0]), (0, 3)),
    "slice": (one("Slice", np.array([1]), np.array([3])), (0, 3)),
    "slice-to-nothing": (one("Slice", np.array([2]), np.array([2])), (4, 3)),
    "gather": (one("Gather", np.array([1, 0]), axis=1), (0, 3)),
    "gather-nothing": (one("Gather", np.zeros(0, np.int64)), (2, 3)),
    "gather-from-nothing": (one("Gather", np.array([0])), (0, 3)),
    "add": (one("Add", np.float32(1)), (0, 3)),
    "add-row": (one("Add", M[:1, :3]), (0, 3)),
    "relu": (one("Relu"), (2, 0)),
    "pad": (one("Pad", np.array([1, 0, 1, 0])), (0, 3)),
    "expand": (one("Expand", np.array([2, 0, 3])), (1, 3)),
    "tile": (one("Tile", np.array([0, 2])), (2, 3)),
    "resize": (one("Resize", np.zeros(0, np.float32), np.float32([1, 1, 2, 2])), (0, 3, 4, 4)),
    "resize-nothing": (one("Resize", np.zeros(0, np.float32), np.zeros(0, np.float32),
                           np.array([1, 1, 4, 4])), (1, 1, 0, 4)),
    "top-k": (one("TopK", np.array([0])), (2, 3)),
    "cum-sum": (one("CumSum", np.array(1)), (2, 0)),
    "layer-norm": (one("LayerNormalization", np.ones(3, np.float32)), (0, 3)),
}  # fmt: skip
EMPTY["top-k"][0][0][0].output.append("i")


@pytest.mark.parametrize("dynamic", [True, False], ids=["named", "fixed"])
@pytest.mark.parametrize("name", EMPTY)
def test_nothing_gives_what_onnxruntime_gives_or_an_error(name, dynamic):
    case, shape = EMPTY[name]
    model = build(case, len(shape), None if dynamic else list(shape))
    x = R.standard_normal(shape).astype(np.float32)
    try:
        (found, *_) = sardonyx.Session(model, threads=1).run(None, {"x": x})
    except sardonyx.SardonyxError as error:
        assert "it" in str(error)
        return
    try:
        wanted = peer(model, x)
    except Exception:  # onnxruntime refuses some of which there is nothing to compute
        assert found.size == 0
        return
    assert found.dtype == wanted.dtype
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_most_empty_cases_are_computed():
    refused = []
    for name, (case, shape) in EMPTY.items():
        x = R.standard_normal(shape).astype(np.float32)
        try:
            sardonyx.Session(build(case, len(shape)), threads=1).run(None, {"x": x})
        except sardonyx.SardonyxError:
            refused.append(name)
    nothing = {"mean", "max", "global-average-pixels", "arg-max-nothing", "gather-from-nothing"}
    assert set(refused) <= {*nothing, "resize-nothing"}


@pytest.mark.parametrize(
    ("case", "shape", "message"),
    [
        (one("Conv", W), (1, 3, 1, 1), "node 'it' .Conv.*shape .1, 5, -1, -1."),
        (one("Conv", W), (1, 4, 5, 5), "channels of 'x' and of the weights: 4 and 3"),
        (one("MaxPool", kernel_shape=[9, 9]), (1, 3, 4, 4), "of 'y' has a negative size"),
        (one("Reshape", np.array([4, 4])), (3, 5), "elements of 'x' and of the result: 15 and 16"),
        (one("Squeeze", np.array([1])), (3, 5), "axis 1 of 'x', if listed: 5 and 1"),
        (one("Concat", M, axis=0), (3, 5), "axis 1 of 'x' and of 'y': 5 and 4"),
        (one("MatMul", M), (3, 5), "5 and 9"),
        (one("Add", M), (3, 5), "does not broadcast"),
        (one("DepthToSpace", blocksize=2), (1, 3, 4, 4), "multiples of the block: 3 and 0"),
        (one("Pad", np.array([-4, 0, 0, 0])), (3, 5), "'it'"),
        (one("GatherElements", np.zeros((4, 6), np.int64)), (3, 5), "sizes of axis 1"),
    ],
)
def test_sizes_that_do_not_fit_are_named_when_they_are_known(case, shape, message):
    session = sardonyx.Session(build(case, len(shape)), threads=1)
    with pytest.raises(sardonyx.InvalidArgument, match=message):
        session(np.zeros(shape, np.float32))


def test_parts_of_a_split_must_add_up_at_run_time():
    nodes, constants = one("Split", np.array([2, 3]), axis=0)
    nodes[0].output.append("z")
    session = sardonyx.Session(build((nodes, constants), 1), threads=1)
    assert session(np.arange(5, dtype=np.float32))[0] == 0
    with pytest.raises(sardonyx.InvalidArgument, match="axis 0 of 'x' and of its parts: 4 and 5"):
        session(np.zeros(4, np.float32))


# --- stored oddly -----------------------------------------------------------------------------


def test_arrays_of_any_layout_and_byte_order_are_taken():
    model = build(one("Conv", W, pads=[1] * 4), 4)
    session = sardonyx.Session(model, threads=1)
    x = R.standard_normal((2, 3, 6, 8)).astype(np.float32)
    wide = np.zeros((4, 3, 6, 16), np.float32)
    wide[::2, :, :, ::2] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    repeated = np.broadcast_to(x[:1], x.shape)
    for array in (
        wide[::2, :, :, ::2], x[::-1, :, ::-1, ::-1][::-1, :, ::-1, ::-1], x[:, :, ::-1, :],
        np.asfortranarray(x), x.astype(">f4"), x.astype(">f4")[:, ::-1], frozen, repeated,
    ):  # fmt: skip
        before = np.array(array)
        wanted = peer(model, np.ascontiguousarray(array, np.float32))
        np.testing.assert_allclose(session(array), wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(array, before)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"x": [[1.0], [2.0, 3.0]]}, "'x' is not an array"),
        ({"x": None}, "'x': expected float32, got object"),
        ({"x": "text"}, "'x': expected float32, got str"),
        ({"x": np.zeros(2, np.complex64)}, "expected float32, got complex64"),
        ({"x": np.zeros(2, np.float16)}, "expected float32, got float16"),
        ({"y": np.zeros(2, np.float32)}, r"missing: \['x'\], inputs not known: \['y'\]"),
        ([np.zeros(2, np.float32)], "mapping of names to arrays, not a list"),
        (None, "mapping of names to arrays, not a NoneType"),
    ],
)
def test_what_is_no_input_is_named(feeds, message):
    session = sardonyx.Session(build(one("Relu"), 1), threads=1)
    with pytest.raises(sardonyx.InvalidArgument, match=message):
        session.run(None, feeds)


def test_strings_are_checked_and_come_back_as_objects():
    node = NODE("Identity", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, 8, ["n"]) for name in "xy")
    model = helper.make_model(helper.make_graph([node], "g", [x], [y]), ir_version=9)
    session = sardonyx.Session(model, threads=1)
    for array in (np.array(["a", "bc"]), np.array(["a", "bc"], object), ["a", "bc"]):
        assert session(array).tolist() == ["a", "bc"] and session(array).dtype == object
    with pytest.raises(sardonyx.InvalidArgument, match="'x': expected strings, got float32"):
        session(np.zeros(2, np.float32))


# --- bytes of bool that are neither 0 nor 1 -----------------------------------------------------

ODD = np.frombuffer(bytes([0, 1, 2, 255] * 9), np.bool_)
BOOL_READERS = {
    "Where": ["b", "x", "z"],
    "Not": ["b"],
    "And": ["b", "t"],
    "Or": ["b", "f"],
    "Xor": ["b", "t"],
    "Equal": ["b", "t"],
    "Cast": ["b"],
    "NonZero": ["b"],
    "Compress": ["x", "b"],
    "Identity": ["b"],
}


@pytest.mark.parametrize("op_type", BOOL_READERS)
@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("optimize", ["none", "all"])
def test_bool_arrays_with_other_bytes_mean_what_numpy_says(op_type, is_constant, optimize):
    x = np.arange(36, dtype=np.float32)
    names = BOOL_READERS[op_type]
    given = {"x": x, "b": ODD, "q": np.ones(2, bool)}
    stored = {"z": -x, "t": np.ones(36, bool), "f": np.zeros(36, bool)}
    if is_constant:
        stored["b"] = given.pop("b")
    feeds = {name: array for name, array in given.items() if name in [*names, "q"]}
    attributes = {"to": 1} if op_type == "Cast" else {}
    nodes = [NODE(op_type, names, ["y"], **attributes), NODE("Not", ["q"], ["r"])]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), [None])
        for name, a in feeds.items()
    ]
    weights = [
        helper.make_tensor(
            name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape, a.tobytes(), raw=True
        )
        for name, a in stored.items()
        if name in names
    ]
    results = [ValueInfoProto(name=name) for name in ("y", "r")]
    graph = helper.make_graph(nodes, "g", inputs, results, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    odd = ODD.view(np.uint8) != 0
    expected = {
        "Where": np.where(odd, x, -x),
        "Not": ~odd,
        "Xor": ~odd,
        "Cast": odd.astype(np.float32),
        "NonZero": np.stack(np.nonzero(odd)),
        "Compress": x[odd],
    }.get(op_type, odd)
    y, _ = sardonyx.Session(model, threads=1, optimize=optimize).run(None, feeds)
    np.testing.assert_array_equal(y, expected)
    assert y.dtype != bool or y.view(np.uint8).max() <= 1
