"""Contents that no kernel or host step may trust: indices, lengths, divisors, shifts, truth."""

import numpy as np
import pytest
import sardonyx
from onnx import TensorProto, helper
from onnx.helper import make_node

from .conftest import build

X = np.arange(8, dtype=np.float32).reshape(4, 2)
BEYOND = [4, -5, 2**31, -(2**31), 2**32, 2**63 - 1, -(2**63)]
PARTS = make_node("SplitToSequence", ["x"], ["s"], axis=0)
JOINED = make_node("ConcatFromSequence", ["q"], ["y"], axis=0)
KEYS = np.ones((1, 1, 4, 2), np.float32)


def run(nodes, feeds, weights=None, optimize="all", opset=24):
    model = build(nodes, [feeds], weights, opset=opset)
    return sardonyx.Session(model, threads=1, optimize=optimize).run(None, feeds)


def scalar(value):
    return np.array(value, np.int64)


POSITIONS = {
    "Gather": ([make_node("Gather", ["x", "i"], ["y"])], lambda v: scalar([v]), {}),
    "GatherElements": (
        [make_node("GatherElements", ["x", "i"], ["y"])], lambda v: scalar([[v, 0]]), {},
    ),
    "GatherND": ([make_node("GatherND", ["x", "i"], ["y"])], lambda v: scalar([[v]]), {}),
    "ScatterElements": (
        [make_node("ScatterElements", ["x", "i", "u"], ["y"])], lambda v: scalar([[v, 0]]),
        {"u": X[:1]},
    ),
    "ScatterND": (
        [make_node("ScatterND", ["x", "i", "u"], ["y"])], lambda v: scalar([[v]]), {"u": X[:1]},
    ),
    "SequenceAt": ([PARTS, make_node("SequenceAt", ["s", "i"], ["y"])], scalar, {}),
    "SequenceErase": ([PARTS, make_node("SequenceErase", ["s", "i"], ["q"]), JOINED], scalar, {}),
    "TensorScatter": (
        [make_node("TensorScatter", ["k", "u", "i"], ["y"])], lambda v: scalar([v]),
        {"k": KEYS, "u": KEYS[:, :, :1]},
    ),
    "CumSum": ([make_node("CumSum", ["x", "i"], ["y"])], scalar, {}),
}  # fmt: skip
LENGTHS = {
    "SequenceInsert": (
        [PARTS, make_node("SequenceInsert", ["s", "x", "i"], ["q"]), JOINED], scalar, {},
    ),
    "ReverseSequence": (
        [make_node("ReverseSequence", ["x", "i"], ["y"], time_axis=0, batch_axis=1)],
        lambda v: scalar([v, 1]), {},
    ),
    "Attention": (
        [make_node("Attention", ["k", "k", "k", "", "", "", "i"], ["y"])], lambda v: scalar([v]),
        {"k": KEYS},
    ),
    "TopK": ([make_node("TopK", ["x", "i"], ["y", "z"], axis=0)], lambda v: scalar([v]), {}),
}  # fmt: skip


@pytest.mark.parametrize("fed", [True, False])
@pytest.mark.parametrize("name", [*POSITIONS, *LENGTHS])
def test_what_is_out_of_range_is_refused(name, fed):
    nodes, make, others = {**POSITIONS, **LENGTHS}[name]
    x = {"x": X} if any("x" in node.input for node in nodes) else {}
    for value in BEYOND:
        if name in LENGTHS and value == 4:
            value = 5  # as many as there are is allowed
        contents = {"i": make(value)}
        feeds = {**x, **others, **(contents if fed else {})}
        with pytest.raises(sardonyx.SardonyxError, match=name):
            run(nodes, feeds, {} if fed else contents)


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_one_hot_of_indices_out_of_range_is_off(check, dtype):
    far = [np.nan, np.inf, -np.inf, 1e30] if dtype == "float32" else BEYOND[:2]
    if dtype == "int64":
        far = BEYOND
    indices = np.array([*far, 0, 3, -4, -1], dtype)
    node = make_node("OneHot", ["i", "d", "v"], ["y"])
    wanted = np.full((len(indices), 4), 2, np.float32)
    wanted[range(-4, 0), [0, 3, 0, 3]] = 7
    given = {"d": scalar(4), "v": np.array([2, 7], np.float32)}
    check([node], {"i": indices}, given, wanted=[[wanted]])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_one_hot_needs_two_values(refused, count):
    node = make_node("OneHot", ["i", "d", "v"], ["y"])
    feeds = {"i": scalar([0, 1]), "v": np.ones(count, np.float32)}
    assert "OneHot" in refused([node], feeds, {"d": scalar(3)})
    assert "OneHot" in refused([node], feeds, {"d": scalar(3)}, dims={"v": ["n"]})
    assert "OneHot" in refused([node], {**feeds, "d": scalar(3)})


SIGNED = ["int8", "int16", "int32", "int64"]


@pytest.mark.parametrize("dtype", [*SIGNED, "uint8", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("mode", ["kernel", "folded"])
def test_integer_division_never_traps(dtype, mode):
    """Division by zero is an error, which names the operator."""
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, 5], dtype)
    y = np.array([-1 if dtype in SIGNED else 1, 3, 2], dtype)
    for name, attributes, wanted in (
        ("Div", {}, [x[0], info.max // 3, 2]),
        ("Mod", {}, [0, info.max % 3, 1]),
        ("Mod", {"fmod": 1}, [0, info.max % 3, 1]),
    ):
        node = make_node(name, ["a", "b"], ["z"], **attributes)
        zero = np.array([y[0], 0, 2], dtype)
        np.testing.assert_array_equal(_divided(node, mode, x, y), np.array(wanted, dtype), name)
        with pytest.raises(sardonyx.KernelError, match=rf"{name}.*division by zero"):
            _divided(node, mode, x, zero)


def _divided(node, mode, x, y):
    """Run a division whose operands are given, or known when the model is optimized."""
    if mode == "kernel":
        (found,) = run([node], {"a": x, "b": y})
    else:
        add = make_node("Add", ["z", "zero"], ["y"])
        (found,) = run([node, add], {"zero": np.zeros(1, x.dtype)}, {"a": x, "b": y})
    return found


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64"])
def test_shifts_by_the_width_or_more_give_zero(dtype):
    info = np.iinfo(dtype)
    y = np.array([info.bits, info.bits + 1, min(200, info.max), info.max, 0], dtype)
    x = np.full(len(y), info.max, dtype)
    for direction in ("LEFT", "RIGHT"):
        node = make_node("BitShift", ["x", "y"], ["z"], direction=direction)
        (found,) = run([node], {"x": x, "y": y})
        np.testing.assert_array_equal(found, [0, 0, 0, 0, info.max])


def test_truth_values_of_other_bytes():
    b = np.frombuffer(bytes([0, 1, 2, 255]), np.bool_)
    truth = np.array([False, True, True, True])
    for node, wanted in (
        (make_node("Cast", ["b"], ["y"], to=TensorProto.INT32), truth.astype(np.int32)),
        (make_node("Equal", ["b", "t"], ["y"]), truth),
        (make_node("Xor", ["b", "t"], ["y"]), ~truth),
        (make_node("Not", ["b"], ["y"]), ~truth),
        (make_node("Where", ["b", "one", "t"], ["y"]), np.ones(4, bool)),
    ):
        others = {n: np.ones(4, bool) for n in ("t", "one") if n in node.input}
        (found,) = run([node], {"b": b, **others})
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("k", [2**63 - 1, -(2**63), 2**31, -3, 7])
def test_diagonals_far_outside(k):
    for upper in (0, 1):
        node = make_node("Trilu", ["x", "k"], ["y"], upper=upper)
        (found,) = run([node], {"x": X}, {"k": scalar(k)})
        kept = (k <= 0) if upper else (k > 0)
        np.testing.assert_array_equal(found, X if kept and abs(k) > 3 else _triangle(k, upper))
    (found,) = run([make_node("EyeLike", ["x"], ["y"], k=k)], {"x": X})
    np.testing.assert_array_equal(found, np.eye(4, 2, int(np.clip(k, -4, 2))))


def _triangle(k, upper):
    k = int(np.clip(k, -5, 3))
    return np.triu(X, k) if upper else np.tril(X, k)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e30])
def test_floats_that_become_sizes_are_refused(value):
    v, zero, one = (np.array(n, np.float32) for n in (value, 0, 1))
    image = np.ones((1, 1, 2, 2), np.float32)
    scales = np.array([1, 1, 1, value], np.float32)
    for nodes, feeds, contents in (
        ([make_node("Resize", ["x", "", "s"], ["y"])], {"x": image}, {"s": scales}),
        ([make_node("Range", ["z", "v", "o"], ["y"])], {"z": zero, "o": one}, {"v": v}),
    ):
        for fed in (True, False):
            given = {**feeds, **contents} if fed else feeds
            try:
                (found,) = run(nodes, given, {} if fed else contents)
            except sardonyx.SardonyxError:
                continue
            assert found.size == 0 and not value > 0


@pytest.mark.parametrize("size", ["m", 1, None])
def test_top_k_of_a_number_without_a_known_length(size):
    node = make_node("TopK", ["x", "k"], ["y", "i"])
    ports = [helper.make_tensor_value_info("x", 1, ["n"])]
    ports.append(helper.make_tensor_value_info("k", 7, None if size is None else [size]))
    outputs = [helper.make_tensor_value_info("y", 1, None)]
    graph = helper.make_graph([node], "g", ports, outputs)
    imports = [helper.make_opsetid("", 22)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    session = sardonyx.Session(model, threads=1)
    np.testing.assert_array_equal(session(np.arange(5, dtype=np.float32), scalar([2])), [4, 3])


def test_constants_are_checked_before_they_are_folded():
    """What the reference computes of a length out of range is no constant of the model."""
    weights = {"c": X, "i": scalar([9, 1])}
    reverse = make_node("ReverseSequence", ["c", "i"], ["r"], time_axis=0, batch_axis=1)
    nodes = [reverse, make_node("Add", ["r", "x"], ["y"])]
    with pytest.raises(sardonyx.SardonyxError, match="ReverseSequence"):
        run(nodes, {"x": X}, weights)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_arithmetic_on_known_numbers_wraps_and_truncates(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.max, info.min, -7, info.min + 1], dtype)
    y = np.array([info.max, -1, 2, 3], dtype)
    for name, operate in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply)):
        nodes = [make_node(name, ["a", "b"], ["c"]), make_node("Add", ["c", "zero"], ["z"])]
        (found,) = run(nodes, {"zero": np.zeros(1, dtype)}, {"a": x, "b": y}, optimize="none")
        np.testing.assert_array_equal(found, operate(x, y))
    nodes = [make_node("Div", ["a", "b"], ["c"]), make_node("Add", ["c", "zero"], ["z"])]
    (found,) = run(nodes, {"zero": np.zeros(1, dtype)}, {"a": x, "b": y}, optimize="none")
    np.testing.assert_array_equal(found, [1, info.min, -3, -((info.max) // 3)])
    cast = [
        make_node("Cast", ["a"], ["c"], to=TensorProto.INT32),
        make_node("Add", ["c", "zero"], ["z"]),
    ]
    (found,) = run(cast, {"zero": np.zeros(1, np.int32)}, {"a": x}, optimize="none")
    np.testing.assert_array_equal(found, x.astype(np.int32))
