"""Programs for certain sizes, numbers and ranks, made when runs repeat them."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import parser

F32 = np.float32
BY_LENGTH = """<ir_version: 8, opset_import: ["": 18]>
g (float[batch, length] x) => (float[rows, columns] y) <int64[1] two = {2}, int64 i = {1},
  int64[1] minus = {-1}, int64[2] all = {0, -1}> {
    s = Shape (x)
    n = Gather (s, i)
    odd = Mod (n, two)
    is_odd = Cast <to = 9> (odd)
    e = Squeeze (is_odd)
    z = If (e) <
      then_branch = t () => (z1) { p = Constant <value_ints = [0, 0, 0, 1]> ()
                                   z1 = Pad (x, p) },
      else_branch = f () => (z2) { z2 = Neg (x) }
    >
    r = Relu (z)
    y = Reshape (r, all)
}"""
BY_NUMBER = """<ir_version: 8, opset_import: ["": 18]>
g (float[batch, 4] x, int64 rate) => (float[rows, columns] y) <int64 k = {16000}> {
    e = Equal (rate, k)
    y = If (e) <
      then_branch = t () => (z1) {
        s = Shape <start = 0, end = 1> (x)
        one = Constant <value_ints = [1]> ()
        same = Equal (s, one)
        z1 = If (same) < then_branch = tt () => (a) { a = Exp (x) },
                         else_branch = tf () => (b) { b = Neg (x) } > },
      else_branch = f () => (z2) { z2 = Relu (x) }
    >
}"""
BY_CONTENT = """<ir_version: 8, opset_import: ["": 18]>
g (float[n] x) => (float[m] y) <float zero = {0}> {
    s = ReduceSum <keepdims = 0> (x)
    c = Greater (s, zero)
    y = If (c) < then_branch = t () => (a) { a = Exp (x) },
                 else_branch = f () => (b) { b = Neg (x) } >
}"""


def sessions(text: str) -> tuple[sardonyx.Session, onnxruntime.InferenceSession]:
    model = parser.parse_model(text)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    other = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return sardonyx.Session(model.SerializeToString(), threads=1), other


def host_steps(session: sardonyx.Session, feeds: dict[str, np.ndarray]) -> list[str]:
    """Run until there is a program for the feeds; operators that it runs on the host."""
    for _ in range(2):
        session.run(None, feeds)
    return [step.op_type for step in session._variants.choose(feeds).program.host_steps]


def test_branches_that_sizes_decide_are_compiled(rng):
    session, other = sessions(BY_LENGTH)
    for length in (5, 8, 5, 5, 8, 8, 6, 1):
        feeds = {"x": rng.standard_normal((2, length)).astype(F32)}
        np.testing.assert_array_equal(session.run(None, feeds)[0], other.run(None, feeds)[0])
    assert host_steps(session, {"x": np.ones((3, 5), F32)}) == []


def test_sizes_that_never_come_again_make_no_programs(rng):
    session, other = sessions(BY_LENGTH)
    for length in range(1, 40):
        feeds = {"x": rng.standard_normal((1, length)).astype(F32)}
        np.testing.assert_array_equal(session.run(None, feeds)[0], other.run(None, feeds)[0])
    assert len(session._variants.all()) == 1


def test_there_is_a_limit_to_their_number(rng):
    session, other = sessions(BY_LENGTH)
    for length in range(1, 40):
        feeds = {"x": rng.standard_normal((1, length)).astype(F32)}
        for _ in range(3):
            np.testing.assert_array_equal(session.run(None, feeds)[0], other.run(None, feeds)[0])
    assert 10 < len(session._variants.all()) <= 16


def test_branches_that_a_number_decides_and_branches_within(rng):
    session, other = sessions(BY_NUMBER)
    for rate, batch in [(16000, 1), (8000, 1), (16000, 2), (16000, 1), (8000, 3)] * 3:
        feeds = {"x": rng.standard_normal((batch, 4)).astype(F32), "rate": np.array(rate)}
        np.testing.assert_allclose(
            session.run(None, feeds)[0], other.run(None, feeds)[0], rtol=1e-6
        )
    for rate, batch in ((16000, 1), (16000, 2), (8000, 3)):
        assert host_steps(session, {"x": np.ones((batch, 4), F32), "rate": np.array(rate)}) == []


def test_contents_that_are_no_single_integer_need_no_variant(rng):
    session, other = sessions(BY_CONTENT)
    for sign in (1, -1, 1, 1, -1):
        feeds = {"x": np.full(3, sign, F32)}
        np.testing.assert_allclose(
            session.run(None, feeds)[0], other.run(None, feeds)[0], rtol=1e-6
        )
    assert host_steps(session, feeds) == []
    assert len(session._variants.all()) == 1


def test_operators_that_need_sizes_as_numbers(rng):
    """A Squeeze without axes gives a rank that depends on the sizes."""
    session, other = sessions("""<ir_version: 8, opset_import: ["": 18]>
      g (float[a, b, c] x) => (float y) { s = Squeeze (x)  y = Softmax (s) }""")
    for shape in ((1, 3, 4), (2, 3, 1), (1, 3, 4), (5, 3, 2), (1, 3, 1), (2, 3, 1)):
        feeds = {"x": rng.standard_normal(shape).astype(F32)}
        (found,), (wanted,) = session.run(None, feeds), other.run(None, feeds)
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert host_steps(session, {"x": np.ones((1, 3, 4), F32)}) == []


def test_inputs_without_a_rank_get_the_one_that_they_have(rng):
    model = parser.parse_model(BY_CONTENT)
    del model.graph.node[:]
    model.graph.node.append(onnx.helper.make_node("Softmax", ["x"], ["y"], axis=-1))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    session = sardonyx.Session(model, threads=1)
    for shape in ((3,), (2, 3), (2, 3), (4, 5), (1, 2, 3), (3,)):
        x = rng.standard_normal(shape).astype(F32)
        wanted = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
        np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, rtol=1e-5)
    assert host_steps(session, {"x": np.ones((7, 7), F32)}) == []
    assert len(session._variants.all()) == 3


def test_what_is_wrong_with_feeds_is_said_as_ever(rng):
    session, _ = sessions(BY_NUMBER)
    x, rate = np.ones((1, 4), F32), np.array(16000)
    for _ in range(3):
        session.run(None, {"x": x, "rate": rate})
        for feeds in (
            {"x": x},
            {"x": x, "rate": "fast"},
            {"x": x.astype(np.float64), "rate": rate},
            {"x": np.ones((1, 5), F32), "rate": rate},
            {"x": x, "rate": np.array([1, 2])},
            {"x": x, "rate": rate, "more": x},
            [x, rate],
        ):
            with pytest.raises(sardonyx.InvalidArgument):
                session.run(None, feeds)


def test_artifacts_have_variants_too(rng, tmp_path):
    session, other = sessions(BY_NUMBER)
    session.save(tmp_path / "model.sdx")
    opened = sardonyx.Session(tmp_path / "model.sdx", threads=1)
    feeds = {"x": rng.standard_normal((2, 4)).astype(F32), "rate": np.array(16000)}
    assert host_steps(opened, feeds) == []
    np.testing.assert_allclose(opened.run(None, feeds)[0], other.run(None, feeds)[0], rtol=1e-6)


def test_threads_may_ask_for_variants_at_once(rng):
    session, other = sessions(BY_LENGTH)
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        own = np.random.default_rng(seed)
        try:
            for _ in range(30):
                feeds = {"x": own.standard_normal((1, int(own.integers(1, 8)))).astype(F32)}
                wanted = other.run(None, feeds)[0]
                np.testing.assert_array_equal(session.run(None, feeds)[0], wanted)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_as_many_axes_as_a_run_gives(rng):
    """What an axis is may be a size; how many there are, or which of many, must be numbers."""
    for shape, text in (
        ((2, 1, 3, 1), "float[a, b, c, d] x, int64[n] axes) => (float y) "
         "{ y = Squeeze (x, axes) }"),
        ((2, 1, 3, 1, 1), "float[a, b, c, d, e] x, int64[2] axes) => (float y) "
         "{ y = ReduceSum <keepdims = 0> (x, axes) }"),
        ((2, 1, 3, 1), "float[a, b, c, d] x, int64[2] axes, bool on) => (float y) "
         "{ y = If (on) < then_branch = t () => (p) { p = Squeeze (x, axes) }, "
         "else_branch = f () => (q) { q = Neg (x) } > }"),
    ):  # fmt: skip
        session, other = sessions(f"""<ir_version: 8, opset_import: ["": 18]> g ({text}""")
        x = rng.standard_normal(shape).astype(F32)
        for axes in ([1, 3], [-1, 1], [1, 3], [3, 1], [-1, 1]):
            feeds = {"x": x, "axes": np.array(axes)}
            feeds |= {"on": np.array(True)} if "bool" in text else {}
            (found,), (wanted,) = session.run(None, feeds), other.run(None, feeds)
            np.testing.assert_allclose(found, wanted, rtol=1e-5, strict=True)
        assert host_steps(session, feeds) == []
