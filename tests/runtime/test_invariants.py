"""Steps that follow from sizes alone: runs of the same sizes do them once."""

from __future__ import annotations

import threading

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx
from sardonyx.kernels.abi import STEP_KERNEL, STEP_PARTS
from sardonyx.runtime import invariants

HEAD = '<ir_version: 10, opset_import: ["" : 21]>\n'
POSITIONS = """g (float[N,M] x, int64 k) => (float[N,M] y, float[M] z) {
    shape = Shape<start=1>(x) zero = Constant<value_int=0>() one = Constant<value_int=1>()
    none = Constant<value_ints=[0]>() size = Squeeze(shape, none)
    range = Range(zero, size, one) f = Cast<to=1>(range) s = Sin(f) e = Exp(s)
    y = Add(x, e) n = Neg(e) kf = Cast<to=1>(k) z = Mul(n, kf)
}"""


def both(text: str, **options: object) -> tuple[sardonyx.Session, onnxruntime.InferenceSession]:
    data = onnx.parser.parse_model(HEAD + text).SerializeToString()
    other = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return sardonyx.Session(data, **options), other


def agree(session, other, feeds) -> None:
    for found, wanted in zip(session.run(None, feeds), other.run(None, feeds), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def are_left_out(session: sardonyx.Session) -> bool:
    binding = session.engine.idle[-1].binding
    kernels = binding.steps[session.engine.program.invariant_steps, STEP_KERNEL]
    return bool((kernels == binding._executable.idle_kernel).all())


def feeds(rows: int, columns: int, k: int = 2) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(rows + columns)
    return {"x": rng.standard_normal((rows, columns)).astype(np.float32), "k": np.array(k)}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("optimize", ["none", "all"])
def test_they_are_done_once_for_sizes(threads, optimize):
    session, other = both(POSITIONS, threads=threads, optimize=optimize)
    program = session.engine.program
    assert len(program.invariant_steps) >= 2 and len(program.kept_buffers) == 1
    for rows, columns in ((2, 5), (2, 5), (3, 5), (2, 5), (2, 70000), (2, 70000), (2, 0), (2, 5)):
        for k in (1, 2, 3):
            agree(session, other, feeds(rows, columns, k))
    assert are_left_out(session)


def test_all_are_traced_and_values_are_right_again_behind_it():
    session, other = both(POSITIONS, threads=1, optimize="none")
    given = feeds(2, 5)
    for _ in range(3):
        agree(session, other, given)
        traced = session.trace(given)
        np.testing.assert_allclose(traced["e"], np.exp(np.sin(np.arange(5))), rtol=1e-5)


def test_steps_come_back_as_they_were(monkeypatch):
    """With the parts that threads share, too, which a long range has several of."""
    tables, leave_out = [], invariants.InvariantSteps.leave_out

    def look(self, *idle):
        tables.append(self._steps.copy())
        leave_out(self, *idle)

    monkeypatch.setattr(invariants.InvariantSteps, "leave_out", look)
    session, other = both(POSITIONS, threads=1)
    agree(session, other, feeds(2, 70000))
    assert (
        are_left_out(session)
        and (tables[0][session.engine.program.invariant_steps, STEP_PARTS] > 1).any()
    )
    binding = session.engine.idle[-1].binding
    binding.invariants.restore()
    np.testing.assert_array_equal(binding.steps, tables[0])


def test_more_than_may_be_kept_is_computed_in_every_run(monkeypatch):
    monkeypatch.setattr(invariants, "_MOST_BYTES", 100)
    session, other = both(POSITIONS, threads=1)
    for columns in (5, 500, 5):
        for k in (1, 2):
            agree(session, other, feeds(2, columns, k))
        assert are_left_out(session) == (columns == 5)


def test_runs_at_once_have_their_own():
    session, other = both(POSITIONS, threads=1)

    def work(rows: int) -> None:
        for k in range(20):
            agree(session, other, feeds(rows, 5 + k % 2, k))

    workers = [threading.Thread(target=work, args=(rows,)) for rows in range(1, 5)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


STAY = {
    "in a branch": ("""g (float[N] x, bool c) => (float[N] y) {
        y = If (c) <then_branch = t () => (float[N] p) {
            s = Shape(x) k = ConstantOfShape(s) e = Exp(k) p = Add(x, e) },
            else_branch = e () => (float[N] q) { q = Neg(x) }> }""",
        {"c": [True, True, False, True]}),
    "as constants that branches give": ("""g (float[N] x, bool c) => (float[N] y) {
        i = If (c) <then_branch = t () => (float p) { p = Constant<value_float=1.0>() },
            else_branch = f () => (float q) { q = Constant<value_float=2.0>() }>
        e = Exp(i) y = Add(x, e) }""",
        {"c": [True, False, False, True]}),
    "as a constant that an iteration gives": ("""g (float[N] x, int64 n) => (float[N] y) {
        k = Constant<value_float=1.0>()
        i = Loop (n, , k) <body = b (int64 i, bool d, float v) => (bool g, float w) {
            g = Identity(d) w = Constant<value_float=2.0>() }>
        e = Exp(i) y = Add(x, e) }""",
        {"n": [0, 1, 0, 2]}),
    "in a loop": ("""g (float[N] x, int64 n) => (float[N] y) {
        y = Loop (n, , x) <body = b (int64 i, bool d, float[N] v) => (bool e, float[N] w) {
            e = Identity(d) s = Shape(x) k = ConstantOfShape(s) f = Exp(k) w = Add(v, f) }> }""",
        {"n": [1, 3, 0, 2]}),
    "beside others in one place": ("""g (float[N] x, float f) => (float[M] y) {
        s = Shape(x) k = ConstantOfShape(s) e = Exp(k) a = Mul(x, f)
        c = Concat<axis=0>(e, a, e) y = Neg(c) }""",
        {"f": [1.0, 2.0, 3.0]}),
    "before a reading": ("""g (float[N] x, int64[1] k) => (float[K] y) {
        s = Shape(x) c = ConstantOfShape(s) e = Exp(c) a = Add(x, e)
        none = Constant<value_ints=[0]>() b = Slice(a, none, k) d = Slice(e, none, k) y = Sub(b, d)
        }""",
        {"k": [[1], [3], [3], [2]]}),
}  # fmt: skip


@pytest.mark.parametrize("case", STAY)
@pytest.mark.parametrize("threads", [1, 2])
def test_what_a_run_may_pass_by_or_repeat_or_write_beside_others(case, threads):
    text, changing = STAY[case]
    session, other = both(text, threads=threads, optimize="none")
    x = np.arange(4, dtype=np.float32)
    (name, values), *_ = changing.items()
    dtype = {"c": bool, "f": np.float32}.get(name, np.int64)
    for size in (4, 3, 4):
        for value in values:
            agree(session, other, {"x": x[:size], name: np.array(value, dtype)})


def test_random_numbers_are_new_in_every_run():
    text = """g (float[3] x) => (float[3] y) {
        r = RandomUniform<shape=[3]>() e = Exp(r) y = Add(x, e) }"""
    session, _ = both(text, threads=1)
    a, b = (session.run(None, {"x": np.zeros(3, np.float32)})[0] for _ in range(2))
    assert (a != b).any()
