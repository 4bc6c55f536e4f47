"""Runs with arrays as those before are one call of compiled code; all others are looked at."""

from __future__ import annotations

import sys
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime.engine import Engine

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
FLAGS = np.arange(4) % 2 == 0


def session_of(
    nodes: Any, inputs: Any, outputs: str, threads: int = 1, **constants: np.ndarray
) -> sardonyx.Session:
    graph = oh.make_graph(
        nodes, "g", [oh.make_tensor_value_info(*each) for each in inputs],
        [oh.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    model = oh.make_model(graph, ir_version=9, opset_imports=[oh.make_opsetid("", 17)])
    return sardonyx.Session(model, threads=threads)


def opened(threads: int = 1) -> sardonyx.Session:
    """Session of y = sin(x), z = x where flag is set, else 0."""
    nodes = [
        oh.make_node("Sin", ["x"], ["y"]),
        oh.make_node("Where", ["flag", "x", "zero"], ["z"]),
    ]
    inputs = [("x", onnx.TensorProto.FLOAT, ["rows", 4]), ("flag", onnx.TensorProto.BOOL, [4])]
    return session_of(nodes, inputs, "yz", threads, zero=np.array(0, np.float32))


def settled(session: sardonyx.Session, feeds: Any) -> sardonyx.Session:
    for _ in range(3):
        session.run(None, feeds)
    return session


@pytest.fixture
def no_look(monkeypatch):
    """Let a run fail that Python has to look at."""

    def forbid() -> None:
        monkeypatch.setattr(Engine, "_run_checked", lambda *_: pytest.fail("looked at"))

    return forbid


def rounded(results: Any) -> list[Any]:
    return [np.round(each, 6).tolist() for each in results]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("rows", [3, 1, 0, 20_000])
def test_repeated_shapes_are_not_looked_at(no_look, threads, rows):
    x = np.random.default_rng(0).standard_normal((rows, 4), np.float32)
    session = settled(opened(threads), {"x": x, "flag": FLAGS})
    no_look()
    for other in (x, x + 1):
        y, z = session.run(None, {"flag": FLAGS, "x": other})
        np.testing.assert_allclose(y, np.sin(other), atol=1e-6)
        np.testing.assert_array_equal(z, np.where(FLAGS, other, 0))


def test_results_are_arrays_of_their_own_and_inputs_are_given_back():
    feeds = {"x": X.copy(), "flag": FLAGS.copy()}
    session = settled(opened(), feeds)
    before = [sys.getrefcount(each) for each in (*feeds.values(), X.dtype, FLAGS.dtype)]
    runs = [session.run(None, feeds) for _ in range(100)]
    y = runs[0][0]
    assert y.flags.owndata and y.flags.writeable and y.dtype is X.dtype and y.shape == X.shape
    assert len({each.ctypes.data for run in runs for each in run}) == 200
    del runs, y
    after = [sys.getrefcount(each) for each in (*feeds.values(), X.dtype, FLAGS.dtype)]
    assert after == before


def unusual() -> dict[str, Any]:
    wide, raw = np.zeros((3, 8), np.float32), np.array([0, 1, 2, 255], np.uint8)
    wide[:, ::2] = X
    odd = np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(3, 4)
    return {
        "as it is": {},
        "float64": {"x": X.astype(np.float64)},
        "integers": {"x": np.zeros((3, 4), np.int32)},
        "lists": {"x": X.tolist()},
        "order F": {"x": np.asfortranarray(X)},
        "strides": {"x": wide[:, ::2]},
        "backwards": {"x": X[::-1]},
        "not aligned": {"x": odd},
        "big endian": {"x": X.astype(">f4")},
        "read-only": {"x": np.frombuffer(X.tobytes(), np.float32).reshape(3, 4)},
        "matrix": {"x": X.view(np.matrix)},
        "masked": {"x": np.ma.masked_array(X, X > 0)},
        "more rows": {"x": np.concatenate([X, X])},
        "no rows": {"x": X[:0]},
        "more columns": {"x": np.zeros((3, 5), np.float32)},
        "one axis": {"x": X.reshape(-1)},
        "three axes": {"x": X[None]},
        "scalar": {"x": np.float32(3)},
        "none": {"x": None},
        "text": {"x": "text"},
        "another name": {"X": X},
        "raw flags": {"flag": raw.view(bool)},
        "flags as bytes": {"flag": raw},
    }


def outcome(session: sardonyx.Session, feeds: Any) -> Any:
    try:
        return rounded(session.run(None, feeds))
    except sardonyx.InvalidArgument as error:
        return str(error)


@pytest.mark.parametrize("name", list(unusual()))
def test_whatever_is_given_after_usual_runs_gives_what_it_gives_at_first(name):
    usual = {"x": X, "flag": FLAGS}
    session, feeds = settled(opened(), usual), {**usual, **unusual()[name]}
    expected = outcome(opened(), feeds)
    assert outcome(session, feeds) == expected
    assert rounded(session.run(None, usual)) == rounded(opened().run(None, usual))


@pytest.mark.parametrize("kind", [OrderedDict, MappingProxyType, lambda feeds: list(feeds)[:1]])
def test_feeds_that_are_no_dictionary_are_looked_at(kind):
    feeds = {"x": X, "flag": FLAGS}
    session = settled(opened(), feeds)
    assert outcome(session, kind(feeds)) == outcome(opened(), kind(feeds))


@pytest.mark.parametrize("feeds", [{}, {"x": X}, {"x": X, "flag": FLAGS, "more": X}, None])
def test_feeds_of_other_names_are_refused(feeds):
    session = settled(opened(), {"x": X, "flag": FLAGS})
    with pytest.raises(sardonyx.InvalidArgument):
        session.run(None, feeds)


def test_a_key_that_cannot_be_compared_raises_what_it_raises():
    class Key(str):
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = str.__hash__

    session = settled(opened(), {"x": X, "flag": FLAGS})
    with pytest.raises(ZeroDivisionError):
        session.run(None, {Key("x"): X, "flag": FLAGS})
    assert len(session.run(None, {"x": X, "flag": FLAGS})) == 2


def test_shapes_in_turn_are_right():
    session = opened()
    for rows in (1, 2, 1, 2, 2, 2, 3, 2, 1, 1, 1):
        x = np.full((rows, 4), rows, np.float32)
        y, _ = session.run(None, {"x": x, "flag": FLAGS})
        np.testing.assert_allclose(y, np.sin(x), atol=1e-6)


def test_a_step_that_fails_says_so_and_gives_the_inputs_back(no_look):
    node = oh.make_node("Gather", ["w", "i"], ["y"], name="lookup")
    table = np.arange(10, dtype=np.float32)
    session = session_of([node], [("i", onnx.TensorProto.INT64, ["K"])], "y", w=table)
    good, bad = {"i": np.array([3, 9])}, {"i": np.array([3, 10])}
    settled(session, good)
    no_look()
    before = sys.getrefcount(bad["i"])
    for _ in range(5):
        with pytest.raises(sardonyx.KernelError, match=r"lookup.*Gather.*out of range"):
            session.run(None, bad)
        np.testing.assert_array_equal(session.run(None, good)[0], [3, 9])
    after = sys.getrefcount(bad["i"])
    assert after == before


def test_a_run_after_a_trace_is_whole(no_look):
    feeds = {"x": X, "flag": FLAGS}
    session = settled(opened(), feeds)
    session.trace(feeds)
    no_look()
    np.testing.assert_allclose(session.run(None, feeds)[0], np.sin(X), atol=1e-6)


def test_a_cancelled_run_says_so(no_look):
    feeds = {"x": X, "flag": FLAGS}
    session = settled(opened(), feeds)
    no_look()
    session.engine.idle[0].cancel()
    with pytest.raises(sardonyx.KernelError, match="cancelled"):
        session.run(None, feeds)
    assert len(session.run(None, feeds)) == 2


def test_a_model_without_inputs_runs(no_look):
    node = oh.make_node("Sin", ["x"], ["y"])
    session = settled(session_of([node], [], "y", x=X), {})
    no_look()
    np.testing.assert_allclose(session.run(None, {})[0], np.sin(X), atol=1e-6)
