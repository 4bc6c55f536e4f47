"""Chains of host steps: right, and no slower than onnx.reference alone."""

from __future__ import annotations

import statistics
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx.parser
import onnxruntime
import pytest
import sardonyx
from onnx.reference import ReferenceEvaluator

from .host_chains import KINDS, SIZES, drawn, is_run, least

COUNT = 12
"""Chains of each kind."""


def assert_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, list):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            assert_same(a, b)
        return
    wanted = wanted.astype(object) if wanted.dtype.kind == "U" else wanted
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    if wanted.dtype == np.float32:
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    else:
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", KINDS)
def test_drawn_chains_are_right(kind: str, size: str) -> None:
    """Against onnxruntime, whose StringConcat leaves out what is broadcast, or onnx.reference."""
    compared = 0
    for seed in range(COUNT):
        model, feeds = drawn(seed, kind, size)
        if kind != "strings":
            wanted = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)
        elif is_run(other := ReferenceEvaluator(model), feeds):
            wanted = other.run(None, feeds)
        else:
            continue
        session = sardonyx.Session(model, threads=1)
        for _ in range(2):
            assert_same(session.run(None, feeds), wanted)
        compared += 1
    assert compared > COUNT // 2


@pytest.mark.parametrize("kind", KINDS)
def test_chains_take_less_time_than_onnx_reference(kind: str) -> None:
    ratios = []
    for seed in range(COUNT):
        model, feeds = drawn(seed, kind, "tiny")
        other = ReferenceEvaluator(model)
        if is_run(other, feeds):
            session = sardonyx.Session(model, threads=1)
            runs = [partial(engine.run, None, feeds) for engine in (session, other)]
            ours, theirs = least(runs)
            ratios.append(theirs / ours)
    assert statistics.geometric_mean(ratios) > 1.2, sorted(ratios)
    assert min(ratios) > 0.7, sorted(ratios)


def test_sequences_of_halves_keep_their_type() -> None:
    """What is inserted, too, and what a split gives."""
    x = np.arange(6).reshape(2, 3).astype(np.float16)
    element = oh.np_dtype_to_tensor_dtype(x.dtype)
    nodes = [
        oh.make_node("SplitToSequence", ["x"], ["parts"], axis=0),
        oh.make_node("SequenceInsert", ["parts", "x"], ["all"]),
    ]
    graph = oh.make_graph(
        nodes,
        "halves",
        [oh.make_tensor_value_info("x", element, x.shape)],
        [oh.make_tensor_sequence_value_info("all", element, None)],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    for precision in ("strict", "fp32"):
        (found,) = sardonyx.Session(model, precision=precision, threads=1).run(None, {"x": x})
        assert [each.dtype for each in found] == [np.float16] * 3
        for each, wanted in zip(found, (x[:1], x[1:], x), strict=True):
            np.testing.assert_array_equal(each, wanted)


def test_a_result_that_others_hold_is_copied() -> None:
    """The same tensor twice, and a constant, which the next run gives again."""
    nodes = [
        oh.make_node("SequenceConstruct", ["x", "x"], ["s"]),
        oh.make_node("ConcatFromSequence", ["s"], ["y"], axis=0),
        oh.make_node("SequenceInsert", ["s", "y"], ["t"]),
        oh.make_node("Constant", [], ["c"], value_strings=[b"a", b"b"]),
        oh.make_node("StringConcat", ["c", "c"], ["d"]),
        oh.make_node("Identity", ["c"], ["e"]),
    ]
    ports = [oh.make_empty_tensor_value_info(name) for name in ("y", "t", "d", "e", "y")]
    graph = oh.make_graph(nodes, "held", [oh.make_tensor_value_info("x", 1, (2, 3))], ports)
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 21)], ir_version=10)
    session = sardonyx.Session(model, threads=1, optimize="none")
    x = np.ones((2, 3), np.float32)
    first = session.run(None, {"x": x})
    assert not np.shares_memory(first[0], first[4])
    assert not np.shares_memory(first[0], first[1][2])
    for each in (first[0], *first[1], first[4]):
        each[...] = 7
    for each in first[2:4]:
        each[...] = "z"
    y, t, d, e, again = session.run(None, {"x": x})
    assert (x == 1).all()
    for each in (y, *t, again):
        assert (each == 1).all()
    assert d.tolist() == ["aa", "bb"] and e.tolist() == ["a", "b"]


def test_what_follows_an_element_of_a_sequence_is_compiled() -> None:
    """Its rank follows from what the sequence was made of; the sizes are read off the element."""
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N,3] x, float[M,3] w, int64 i) => (float[N,3] y, float[A,B] z) {
        made = SequenceConstruct(x, w) more = SequenceInsert(made, x) held = Optional(more)
        got = OptionalGetElement(held) element = SequenceAt(got, i) e = Exp(element)
        turned = Transpose<perm=[1,0]>(e) z = MatMul(turned, e)
        whole = ConcatFromSequence<axis=0>(got) y = Neg(whole)
    }"""
    model = onnx.parser.parse_model(text)
    session = sardonyx.Session(model, threads=1)
    hosts = {host.op_type for host in session.engine.program.host_steps}
    assert hosts.isdisjoint({"Exp", "Transpose", "MatMul", "Neg"})
    rng = np.random.default_rng(0)
    for n, m, i in ((2, 5, 0), (2, 5, 1), (4, 1, -2), (2, 5, 2), (2, 5, 1)):
        x, w = (rng.standard_normal((size, 3)).astype(np.float32) for size in (n, m))
        y, z = session.run(None, {"x": x, "w": w, "i": np.array(i)})
        e = np.exp([x, w, x][i])
        np.testing.assert_allclose(z, e.T @ e, rtol=1e-4)
        np.testing.assert_array_equal(y, -np.concatenate([x, w, x]))


def test_elements_of_several_ranks_stay_on_the_host() -> None:
    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[2,3] x, float[4] w, int64 i) => (float[A] y) {
        made = SequenceConstruct(x, w) element = SequenceAt(made, i) y = Exp(element)
    }"""
    model = onnx.parser.parse_model(text)
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    model.graph.output[0].type.tensor_type.ClearField("shape")
    session = sardonyx.Session(model, threads=1)
    x, w = np.ones((2, 3), np.float32), np.zeros(4, np.float32)
    for i, given in ((0, x), (1, w), (0, x)):
        (y,) = session.run(None, {"x": x, "w": w, "i": np.array(i)})
        np.testing.assert_allclose(y, np.exp(given), rtol=1e-6)
