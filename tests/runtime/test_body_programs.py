"""Bodies of nodes on the host: programs that host steps run."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx
from sardonyx.errors import KernelError
from sardonyx.runtime import objects
from sardonyx.runtime.binding import Binding

GROWING = """g (float[N,3] x, int64 n) => (float[M,3] y) {
    y = Loop (n, , x) <body = b (int64 i, bool d, float[K,3] v) => (bool e, float[L,3] w) {
        e = Identity(d) s = Exp(v) t = Softmax(s) w = Concat<axis=0>(t, x) }>
}"""
COLLECTING = """g (float[N,3] x, int64 n, bool c) => (float[M,3] y, float[T,N,3] s) {
    y, s = Loop (n, c, x) <body = b (int64 i, bool d, float[K,3] v)
        => (bool e, float[L,3] w, float[N,3] u) {
            limit = Constant<value_float=60.0>() sum = ReduceSum<keepdims=0>(v)
            e = Less(sum, limit) w = Concat<axis=0>(v, x) u = Mul(x, sum) }>
}"""
BRANCHES = """g (float[N,3] x, bool c) => (float y, float z) {
    a = Neg(x)
    y = If (c) <
        then_branch = t () => (float[K,3] w) { w = Concat<axis=0>(a, x, a) },
        else_branch = e () => (float q) { q = ReduceSum<keepdims=0>(a) }>
    z = ReduceSum<keepdims=0>(y)
}"""
NESTED = """g (float[N,3] x, int64 n, bool c) => (float[M,3] y) {
    y = Loop (n, , x) <body = b (int64 i, bool d, float[K,3] v) => (bool e, float[L,3] w) {
        e = Identity(d)
        w = If (c) <
            then_branch = t () => (float[A,3] p) { p = Concat<axis=0>(v, x) },
            else_branch = f () => (float[B,3] q) {
                q = Loop (n, , v) <body = b2 (int64 j, bool d2, float[C,3] v2)
                    => (bool e2, float[D,3] w2) { e2 = Identity(d2) w2 = Concat<axis=0>(v2, v) }>
            }> }>
}"""
YES, NO = np.array(True), np.array(False)


def model(text: str) -> bytes:
    parsed = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    return bytes(parsed.SerializeToString())


def feeds(**more: object) -> dict[str, np.ndarray]:
    x = np.abs(np.random.default_rng(0).normal(size=(2, 3))).astype(np.float32)
    return {"x": x, **{name: np.asarray(value) for name, value in more.items()}}


CASES = [
    (GROWING, [feeds(n=n) for n in (0, 1, 5, 2)]),
    (COLLECTING, [feeds(n=n, c=c) for n, c in ((3, YES), (1000, YES))]),
    (BRANCHES, [feeds(c=c) for c in (YES, NO)]),
    (NESTED, [feeds(n=n, c=c) for n in (0, 1, 3) for c in (YES, NO)]),
]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("text", "given"), CASES, ids=["grows", "collects", "branches", "nested"])
def test_bodies_are_compiled(text: str, given: list[dict[str, np.ndarray]], threads: int) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    other = onnxruntime.InferenceSession(model(text), options)
    # The second session reads the programs from the cache.
    for _ in range(2):
        session = sardonyx.Session(model(text), threads=threads)
        assert session.engine.program.bodies
        for body in session.engine.program.bodies:
            assert {step.op_type for step in body.host_steps} <= {"If", "Loop"}
        for feed in given:
            pairs = zip(session.run(None, feed), other.run(None, feed), strict=True)
            for got, want in pairs:
                assert (got.dtype, got.shape) == (want.dtype, want.shape)
                np.testing.assert_allclose(got, want, rtol=1e-5)


def test_what_follows_states_that_grow_is_compiled() -> None:
    """A body gives their rank, of which onnx's inference tells nothing."""
    text = GROWING.replace("(float[M,3] y) {", "(float[3,M] z) {").rstrip("}")
    text += "a = MatMul(y, m) b = Relu(a) z = Transpose(b) }"
    text = text.replace("{\n    y", "<float[3,3] m = {1, 2, 3, 4, 5, 6, 7, 8, 9}> {\n    y", 1)
    other = onnxruntime.InferenceSession(model(text))
    session = sardonyx.Session(model(text), threads=1)
    assert [step.op_type for step in session.engine.program.host_steps] == ["Loop"]
    for n in (0, 3, 1):
        got, want = session.run(None, feeds(n=n))[0], other.run(None, feeds(n=n))[0]
        np.testing.assert_allclose(got, want, rtol=1e-5)


def test_results_are_the_callers_own() -> None:
    session = sardonyx.Session(model(GROWING))
    first = session.run(None, feeds(n=3))[0]
    kept = first.copy()
    session.run(None, {"x": np.ones((2, 3), np.float32), "n": np.array(3)})
    np.testing.assert_array_equal(first, kept)


def test_sequences_go_through_bodies() -> None:
    text = """g (float[N,3] x, int64 n) => (float[M,3] y) {
        start = SequenceConstruct(x)
        all = Loop (n, , start) <body = b (int64 i, bool d, seq(float[3]) v)
            => (bool e, seq(float[3]) w) {
                e = Identity(d) one = SequenceAt(v, i) next = Tanh(one)
                w = SequenceInsert(v, next) }>
        y = ConcatFromSequence<axis=0>(all)
    }"""
    other = onnxruntime.InferenceSession(model(text))
    session = sardonyx.Session(model(text))
    for n in (0, 1, 4):
        got, want = session.run(None, feeds(n=n))[0], other.run(None, feeds(n=n))[0]
        np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("put", ["t", "r", "a"])
def test_what_sequences_keep_outlives_the_iteration_that_gave_it(put: str) -> None:
    """A state that an iteration computes, and one that it is given, reshaped and as it is."""
    text = """g (float[N,3] x, int64 n, bool c) => (seq(float) y, float[N,3] z) {
        start = SequenceEmpty()
        y, z = Loop (n, c, start, x) <body = b (int64 i, bool d, seq(float) v, float[N,3] a)
            => (bool e, seq(float) w, float[N,3] t) {
                e = Identity(d) t = Tanh(a) flat = Constant<value_ints=[-1]>()
                r = Reshape(a, flat) w = SequenceInsert(v, PUT) }>
    }""".replace("PUT", put)
    other = onnxruntime.InferenceSession(model(text))
    session = sardonyx.Session(model(text), threads=1)
    for n in (9, 2, 30):
        given = {**feeds(n=n), "c": YES}
        sequences, states = zip(session.run(None, given), other.run(None, given), strict=True)
        np.testing.assert_allclose(*states, rtol=1e-5)
        for got, want in zip(*sequences, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5)


def test_sequences_in_bodies_are_not_copied() -> None:
    """An iteration hands on what the ones before have put into a sequence."""
    text = """g (float[2,3] x, int64 n) => (seq(float[2,3]) y) {
        start = SequenceConstruct(x)
        y = Loop (n, , start) <body = b (int64 i, bool d, seq(float[2,3]) v)
            => (bool e, seq(float[2,3]) w) { e = Identity(d) w = SequenceInsert(v, x) }>
    }"""
    session = sardonyx.Session(model(text), threads=1)
    x = np.ones((2, 3), np.float32)
    copies = []
    copy = objects._copy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "_copy", lambda array: (copies.append(1), copy(array))[1])
        (y,) = session.run(None, {"x": x, "n": np.array(30)})
    assert len(y) == 31 and len(copies) <= 2 * 31
    y[3][:] = 5
    assert (x == 1).all() and all((each == 1).all() for i, each in enumerate(y) if i != 3)


@pytest.mark.parametrize("text", [GROWING, COLLECTING])
def test_iterations_have_a_limit(text: str) -> None:
    more = {"c": YES} if text is COLLECTING else {}
    session = sardonyx.Session(model(text), max_iterations=3)
    small = {**feeds(n=3, **more), "x": np.full((2, 3), 0.1, np.float32)}
    session.run(None, small)
    with pytest.raises(KernelError, match="max_iterations"):
        session.run(None, {**small, "n": np.array(4)})


def test_bodies_stay_bound_to_shapes_that_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to some number of shapes, and as long as that takes little memory."""
    bound = []
    bind = Binding.bind
    monkeypatch.setattr(
        Binding, "bind", lambda self, *given: (bound.append(self.program), bind(self, *given))
    )
    session = sardonyx.Session(model(GROWING))
    other = onnxruntime.InferenceSession(model(GROWING))
    body = session.engine.program.bodies[0]
    for n, new in ((5, 5), (5, 0), (3, 0), (20, 15), (20, 0), (80, 60), (80, 80)):
        bound.clear()
        got, want = (each.run(None, feeds(n=n))[0] for each in (session, other))
        np.testing.assert_allclose(got, want, rtol=1e-5)
        assert sum(program is body for program in bound) == new


def test_what_a_body_cannot_do_names_its_node() -> None:
    text = BRANCHES.replace(
        "q = ReduceSum<keepdims=0>(a)", "k = Constant<value_int=7>() q = Gather(a, k)"
    )
    session = sardonyx.Session(model(text))
    session.run(None, feeds(c=YES))
    with pytest.raises(KernelError, match="Gather"):
        session.run(None, feeds(c=NO))


MAPPED = """g (seq(float[N,3]) s, float[3] x, seq(float[3]) t)
    => (seq(float[N,3]) y, seq(float[N]) z) {
    last = Constant<value_ints=[-1]>()
    y, z = SequenceMap (s, x, t) <body = b (float[K,3] v, float[3] w, float[3] u)
        => (float[K,3] p, float[K] q) {
            a = Add(v, w) p = Mul(a, u) q = ReduceSum<keepdims=0>(p, last) }>
}"""


@pytest.mark.parametrize("lengths", [(), (2,), (1, 4, 0)])
def test_a_map_of_sequences_goes_through_its_body(lengths: tuple[int, ...]) -> None:
    session = sardonyx.Session(model(MAPPED))
    (body,) = session.engine.program.bodies
    assert not body.host_steps
    rng = np.random.default_rng(0)
    x = rng.random(3, np.float32)
    s = [rng.random((n, 3), np.float32) for n in lengths]
    t = [rng.random(3, np.float32) for _ in lengths]
    y, z = session.run(None, {"s": s, "x": x, "t": t})
    assert len(y) == len(z) == len(lengths)
    for given, factor, product, total in zip(s, t, y, z, strict=True):
        np.testing.assert_allclose(product, (given + x) * factor, rtol=1e-6)
        np.testing.assert_allclose(total, product.sum(1), rtol=1e-6)


def test_a_map_of_sequences_of_different_lengths_is_an_error() -> None:
    x = np.ones(3, np.float32)
    with pytest.raises(KernelError, match="sequences of"):
        sardonyx.Session(model(MAPPED)).run(None, {"s": [x[None]], "x": x, "t": []})
