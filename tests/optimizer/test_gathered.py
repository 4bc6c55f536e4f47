"""Sequences that loops gather become scan outputs."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx

TEXT = """g (float[N,3] x, int64 n, float limit) => (float y, float[N,3] z, float u) {
    one = Neg(x) yes = Constant<value_int=1>() c = Cast<to=9>(yes)
    START
    all, z, more = Loop (n, c, start, x, other) <body = b
        (int64 i, bool d, seq(float) v, float[N,3] a, seq(float) s)
        => (bool e, seq(float) w, float[N,3] t, seq(float) r) {
            t = Tanh(a) sum = ReduceSum<keepdims=0>(t) e = Less(sum, limit)
            p = Transpose<perm=[1, 0]>(t) w = SequenceInsert(v, PUT) r = SequenceInsert(s, p) }>
    y = ConcatFromSequence<JOIN>(all)
    u = ConcatFromSequence<axis=1, new_axis=1>(more)
}"""
EMPTY = "start = SequenceEmpty() other = SequenceEmpty()"
FULL = "start = SequenceConstruct(one, x) turned = Transpose<perm=[1, 0]>(x) "
FULL += "other = SequenceConstruct(turned)"


def model(text: str) -> bytes:
    parsed = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    return bytes(parsed.SerializeToString())


def kinds(session: sardonyx.Session) -> list[str]:
    return [step.op_type for step in session.engine.program.host_steps]


def agree(text: str, session: sardonyx.Session, counts: tuple[int, ...] = (4, 1, 7)) -> None:
    other = onnxruntime.InferenceSession(model(text), providers=["CPUExecutionProvider"])
    for n in counts:
        for limit in (100.0, 1.5):
            x = np.abs(np.random.default_rng(n).normal(size=(2, 3))).astype(np.float32)
            feeds = {"x": x, "n": np.array(n), "limit": np.array(limit, np.float32)}
            pairs = zip(session.run(None, feeds), other.run(None, feeds), strict=True)
            for got, want in pairs:
                assert got.shape == want.shape
                np.testing.assert_allclose(got, want, rtol=1e-5)


@pytest.mark.parametrize("start", [EMPTY, FULL])
@pytest.mark.parametrize(
    "join", ["axis=0", *(f"axis={axis}, new_axis=1" for axis in (0, 1, 2, -1, -3))]
)
def test_what_a_loop_gathers_is_a_scan_output(start: str, join: str) -> None:
    text = TEXT.replace("START", start).replace("JOIN", join).replace("PUT", "t")
    session = sardonyx.Session(model(text), threads=1)
    assert not kinds(session)
    agree(text, session, (4, 1, 7) if start is EMPTY else (4, 0, 1))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_rows_are_joined_along_any_axis_where_the_others_are_known(axis: int) -> None:
    text = TEXT.replace("N,3", "2,3").replace("START", FULL).replace("PUT", "t")
    text = text.replace("JOIN", f"axis={axis}")
    session = sardonyx.Session(model(text), threads=1)
    assert not kinds(session)
    agree(text, session)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("axis=0>(all)", "axis=1>(all)"),  # the other size is not known
        ("SequenceInsert(v, t)", "SequenceInsert(v, t, i)"),  # at a position
        ("u = Concat", "size = SequenceLength(all) k = Cast<to=1>(size) u0 = Concat"),  # other uses
    ],
)
def test_other_sequences_stay(old: str, new: str) -> None:
    text = TEXT.replace("START", EMPTY).replace("PUT", "t").replace("JOIN", "axis=0")
    assert old in text
    text = text.replace(old, new)
    if "u0" in new:
        text = text.replace("(more)", "(more) u = Add(u0, k)")
    session = sardonyx.Session(model(text), threads=1)
    assert "Loop" in kinds(session)
    agree(text, session)


def test_elements_whose_size_an_iteration_decides_stay_in_a_sequence() -> None:
    text = TEXT.replace("START", EMPTY).replace("PUT", "grown").replace("JOIN", "axis=0")
    text = text.replace("w = Seq", "rows = Unsqueeze(i, at) g = Expand(a1, shape) w = Seq")
    text = text.replace("t = Tanh(a)", "t = Tanh(a) at = Constant<value_ints=[0]>()", 1)
    text = text.replace("g = Expand(a1, shape)", "grown = Slice(t, start0, rows1, at)")
    text = text.replace("rows = Unsqueeze(i, at)", "start0 = Constant<value_ints=[0]>() "
                        "rows = Unsqueeze(i, at) rows1 = Add(rows, rows)")  # fmt: skip
    session = sardonyx.Session(model(text), threads=1)
    assert "Loop" in kinds(session)
    agree(text, session)
