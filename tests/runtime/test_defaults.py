"""Initializers that are inputs, too: a run may give others, as in onnxruntime."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
import sardonyx

FLOAT = np.float32


def made(node, x, defaults, ir_version=8, dims=None):
    """Model of one node of two inputs or more, of which all but the first have a default."""
    kinds = {name: oh.np_dtype_to_tensor_dtype(a.dtype) for name, a in defaults.items()}
    inputs = [oh.make_tensor_value_info("x", 1, [None] * x.ndim)]
    inputs += [
        oh.make_tensor_value_info(name, kinds[name], (dims or {}).get(name, a.shape))
        for name, a in defaults.items()
    ]
    stored = [onnx.numpy_helper.from_array(a, name) for name, a in defaults.items()]
    results = [onnx.ValueInfoProto(name="y")]
    nodes = [oh.make_node("Relu", ["x"], ["r"]), node]
    graph = oh.make_graph(nodes, "g", inputs, results, stored)
    opsets = [oh.make_opsetid("", 13)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=ir_version).SerializeToString()


def arrays(rng, *shapes):
    return [rng.standard_normal(shape).astype(FLOAT) for shape in shapes]


def cases():
    rng = np.random.default_rng(0)
    image, weights, other = arrays(rng, (1, 3, 6, 6), (4, 3, 3, 3), (4, 3, 3, 3))
    bias, other_bias = arrays(rng, (4,), (4,))
    rows, matrix, other_matrix = arrays(rng, (5, 6), (6, 2), (6, 2))
    yield "Mul", "a", rows, {"a": rows[0]}, {"a": rows[1]}, {}
    yield "Conv", "w b", image, {"w": weights, "b": bias}, {"w": other, "b": other_bias}, {}
    yield "MatMul", "w", rows, {"w": matrix}, {"w": other_matrix}, {}
    yield "Reshape", "s", rows, {"s": np.array([2, -1])}, {"s": np.array([-1, 10])}, {}
    yield "Gather", "i", rows, {"i": np.array([0, 1])}, {"i": np.array([4, -1])}, {}
    limits = {"b": np.array([0]), "e": np.array([3])}
    yield "Slice", "b e", rows, limits, {"b": np.array([1]), "e": np.array([5])}, {}
    yield "ReduceSum", "axes", rows, {"axes": np.array([0])}, {"axes": np.array([1])}, {}
    yield "Clip", "l h", rows, {"l": FLOAT(0), "h": FLOAT(1)}, {"l": FLOAT(-1), "h": FLOAT(2)}, {}


@pytest.mark.parametrize(
    ("op_type", "names", "x", "defaults", "others", "attributes"), list(cases())
)
@pytest.mark.parametrize("optimize", ["none", "all"])
def test_defaults_may_be_given_one_by_one(
    op_type, names, x, defaults, others, attributes, optimize
):
    defaults = {name: np.asarray(a) for name, a in defaults.items()}
    node = oh.make_node(op_type, ["r", *names.split()], ["y"], **attributes)
    model = made(node, x, defaults)
    peer = onnxruntime.InferenceSession(model)
    session = sardonyx.Session(model, threads=1, optimize=optimize)
    optimized = sardonyx.optimize(sardonyx.load(model), optimize)
    written = onnxruntime.InferenceSession(sardonyx.importers.to_bytes(optimized))
    first = next(iter(others))
    for given in ({}, others, {first: others[first]}, {}):
        feeds = {"x": x, **{name: np.asarray(a) for name, a in given.items()}}
        if op_type == "Slice" and len(given) == 1:
            continue  # an end before the begin
        (want,) = peer.run(None, feeds)
        for run in (session.run, written.run):
            (y,) = run(None, feeds)
            assert y.shape == want.shape
            np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)


@pytest.fixture
def scaled():
    node = oh.make_node("Mul", ["r", "k"], ["y"])
    return made(node, np.ones(2, FLOAT), {"k": np.array([2, 3], FLOAT)})


def test_defaults_are_described_apart_from_inputs(scaled):
    session, peer = sardonyx.Session(scaled, threads=1), onnxruntime.InferenceSession(scaled)
    for each in ("get_inputs", "get_overridable_initializers"):
        ports, expected = getattr(session, each)(), getattr(peer, each)()
        assert [(p.name, p.type) for p in ports] == [(p.name, p.type) for p in expected]
    assert session.get_overridable_initializers()[0].shape == [2]
    assert session.get_modelmeta().custom_metadata_map == {}


@pytest.mark.parametrize(
    "wrong", [np.ones(3, FLOAT), np.ones((2, 1), FLOAT), np.ones(2), np.ones(2, np.int64)]
)
def test_values_that_do_not_fit_are_refused(scaled, wrong):
    session = sardonyx.Session(scaled, threads=1)
    with pytest.raises(sardonyx.InvalidArgument, match="input 'k': expected"):
        session.run(None, {"x": np.ones(2, FLOAT), "k": wrong})


def test_before_ir_version_4_initializers_were_listed_and_are_constants():
    node = oh.make_node("Mul", ["r", "k"], ["y"])
    model = made(node, np.ones(2, FLOAT), {"k": np.array([2, 3], FLOAT)}, ir_version=3)
    session = sardonyx.Session(model, threads=1)
    assert session.get_overridable_initializers() == []
    x = np.ones(2, FLOAT)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], [2, 3])
    with pytest.raises(sardonyx.InvalidArgument, match=r"not known: \['k'\]"):
        session.run(None, {"x": x, "k": x})


def test_weights_that_are_defaults_are_packed_as_long_as_none_is_given():
    weights = np.ones((4, 3, 3, 3), FLOAT)
    node = oh.make_node("Conv", ["r", "w"], ["y"])
    image = np.ones((1, 3, 6, 6), FLOAT)
    session = sardonyx.Session(made(node, image, {"w": weights}), threads=1)
    assert session.engine.program.weight_bytes >= weights.nbytes
    assert not session.engine.program.host_steps


def test_profiles_and_traces_take_defaults(scaled):
    session = sardonyx.Session(scaled, threads=1)
    feeds = {"x": np.ones(2, FLOAT), "k": np.array([5, 7], FLOAT)}
    np.testing.assert_array_equal(session.trace(feeds)["y"], [5, 7])
    assert session.profile(feeds, runs=1, warmup=0).steps


def test_verification_gives_defaults_their_values():
    node = oh.make_node("Reshape", ["r", "s"], ["y"])
    model = made(node, np.ones((2, 3), FLOAT), {"s": np.array([3, -1])})
    sardonyx.optimize(sardonyx.load(model), verify={"x": np.ones((2, 3), FLOAT)})
