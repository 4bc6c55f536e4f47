"""Sizes read off the contents of tensors: shapes that data decide about, in compiled steps."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
import sardonyx

INTEGER, FLOAT = np.int64, np.float32


def made(nodes, inputs, outputs, weights=None):
    ports = [
        oh.make_tensor_value_info(name, oh.np_dtype_to_tensor_dtype(np.dtype(kind)), shape)
        for name, (kind, shape) in inputs.items()
    ]
    constants = [onnx.numpy_helper.from_array(a, n) for n, a in (weights or {}).items()]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    graph = oh.make_graph(nodes, "g", ports, results, constants)
    opsets = [oh.make_opsetid("", 21)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def compared(model, several):
    """Run a model without host steps at each of its feeds, twice."""
    session = sardonyx.Session(model, threads=1, optimize="none")
    assert not session.engine.program.host_steps and session.engine.program.readings
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    other = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for feeds in [*several, *several]:
        for a, b in zip(session.run(None, feeds), other.run(None, feeds), strict=True):
            np.testing.assert_array_equal(a, b, strict=True)
    return session


def test_a_shape_that_is_an_input(rng):
    nodes = [oh.make_node("Reshape", ["x", "s"], ["y"]), oh.make_node("Relu", ["y"], ["z"])]
    model = made(nodes, {"x": (FLOAT, ["a", "b", "c"]), "s": (INTEGER, [3])}, ["z"])
    x = rng.standard_normal((4, 6, 5)).astype(FLOAT)
    shapes = [4, 6, 5], [-1, 6, 5], [0, 0, -1], [2, -1, 3], [120, 1, 1], [0, 5, 6]
    session = compared(model, [{"x": x, "s": np.array(shape)} for shape in shapes])
    for wrong in ([-1, -1, 5], [4, 6, 6], [-2, -2, 30]):
        with pytest.raises(sardonyx.SardonyxError, match="Reshape"):
            session.run(None, {"x": x, "s": np.array(wrong)})


def test_limits_of_a_slice_count_from_either_end(rng):
    nodes = [oh.make_node("Slice", ["x", "s", "e"], ["y"]), oh.make_node("Relu", ["y"], ["z"])]
    inputs = {"x": (FLOAT, ["a", "b"]), "s": (INTEGER, [2]), "e": (INTEGER, [2])}
    x = rng.standard_normal((4, 6)).astype(FLOAT)
    limits = [
        ([0, 0], [2, 3]), ([-2, 1], [2**63 - 1, -1]), ([-100, -3], [1000, 2**62]), ([3, 3], [1, 1]),
    ]  # fmt: skip
    feeds = [{"x": x, "s": np.array(s, INTEGER), "e": np.array(e, INTEGER)} for s, e in limits]
    compared(made(nodes, inputs, ["z"]), feeds)


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.int16, np.float32, np.float64])
def test_ranges_between_numbers_that_are_computed(kind):
    model = made([oh.make_node("Range", list("abc"), ["y"])], dict.fromkeys("abc", (kind, [])), "y")
    triples = (0, 10, 3), (10, -3, -4), (0, 0, 1), (5, 1, 1), (0, 9, 3), (9, 0, -3)
    feeds = [dict(zip("abc", np.array(triple, kind), strict=True)) for triple in triples]
    session = compared(model, [{n: np.asarray(v) for n, v in feed.items()} for feed in feeds])
    with pytest.raises(sardonyx.SardonyxError, match="Range"):
        session.run(None, {"a": kind(0), "b": kind(3), "c": kind(0)})


def test_sizes_of_copies_and_of_new_tensors(rng):
    nodes = [
        oh.make_node("Expand", ["x", "s"], ["y"]),
        oh.make_node("Tile", ["y", "t"], ["z"]),
        oh.make_node("ConstantOfShape", ["t"], ["c"]),
    ]
    inputs = {"x": (FLOAT, [3, 1]), "s": (INTEGER, [3]), "t": (INTEGER, [3])}
    x = rng.standard_normal((3, 1)).astype(FLOAT)
    pairs = ([2, 1, 4], [1, 2, 3]), ([1, 3, 1], [0, 1, 1])
    feeds = [{"x": x, "s": np.array(s), "t": np.array(t)} for s, t in pairs]
    session = compared(made(nodes, inputs, ["y", "z", "c"]), feeds)
    with pytest.raises(sardonyx.SardonyxError, match="negative size"):
        session.run(None, {**feeds[0], "t": np.array([1, -1, 1])})


def test_the_number_of_largest_elements(rng):
    model = made(
        [oh.make_node("TopK", ["x", "k"], ["y", "i"])],
        {"x": (FLOAT, ["n", 9]), "k": (INTEGER, [1])},
        ["y", "i"],
    )
    x = rng.standard_normal((4, 9)).astype(FLOAT)
    session = compared(model, [{"x": x, "k": np.array([k])} for k in (1, 9, 0, 3)])
    for k in (10, -1, 2**62 + 5, -(2**63)):
        with pytest.raises(sardonyx.SardonyxError, match="TopK"):
            session.run(None, {"x": x, "k": np.array([k])})


def test_a_mask_of_lengths_that_are_data():
    """What is computed of a size that was read is a size again, and no step."""
    nodes = [
        oh.make_node("Cast", ["lengths"], ["l"], to=7),
        oh.make_node("ReduceMax", ["l"], ["k"], keepdims=0),
        oh.make_node("Range", ["zero", "k", "one"], ["r"]),
        oh.make_node("Unsqueeze", ["l", "axis"], ["u"]),
        oh.make_node("Less", ["r", "u"], ["mask"]),
        oh.make_node("Add", ["k", "one"], ["next"]),
    ]
    weights = {"zero": np.array(0), "one": np.array(1), "axis": np.array([1])}
    model = made(nodes, {"lengths": (np.int32, ["b"])}, ["mask", "next", "k"], weights)
    feeds = [{"lengths": np.array(v, np.int32)} for v in ([3, 5], [1, 2, 7], [4], [0])]
    session = compared(model, feeds)
    assert len(session.engine.program.readings) == 1


def test_sizes_that_a_tensor_does_not_expand_to(rng):
    nodes = [oh.make_node("Expand", ["x", "s"], ["y"]), oh.make_node("Relu", ["y"], ["z"])]
    model = made(nodes, {"x": (FLOAT, ["a", 3]), "s": (INTEGER, [2])}, ["z"])
    x, one = rng.standard_normal((2, 3)).astype(FLOAT), rng.standard_normal((1, 3)).astype(FLOAT)
    right = (x, [2, 3]), (x, [1, 1]), (x, [2, 1]), (one, [4, 1]), (one, [0, 3])
    session = compared(model, [{"x": x, "s": np.array(shape)} for x, shape in right])
    for wrong in ([3, 5], [4, 1], [2, 6], [2, 0], [-1, 3]):
        with pytest.raises(sardonyx.SardonyxError, match="Expand"):
            session.run(None, {"x": x, "s": np.array(wrong)})
