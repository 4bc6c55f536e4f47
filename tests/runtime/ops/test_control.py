"""If, Loop and Scan as steps of a program."""

from __future__ import annotations

import threading
import time

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx
from sardonyx.errors import InvalidModel, KernelError
from sardonyx.runtime.ops import repeat


def parsed(text: str) -> bytes:
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    return bytes(model.SerializeToString())


def session(text: str, **options: object) -> sardonyx.Session:
    """Open a model, all of which must be compiled."""
    opened = sardonyx.Session(parsed(text), **options)  # type: ignore[arg-type]
    assert not opened.engine.program.metadata["host"]
    return opened


def compare(text: str, *feeds: dict[str, np.ndarray]) -> None:
    """Run a model as onnxruntime does, with one thread and two, as it is and optimized."""
    reference = onnxruntime.InferenceSession(parsed(text), providers=["CPUExecutionProvider"])
    for threads, optimize in ((1, "none"), (2, "all")):
        ours = session(text, threads=threads, optimize=optimize)
        for given in (*feeds, *feeds):
            expected = reference.run(None, given)
            for got, want in zip(ours.run(None, given), expected, strict=True):
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.fixture(autouse=True, params=["copied", "alternating"])
def states(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, lowered_anew: None
) -> None:
    """Let loops copy the states that an iteration gives, or let two buffers alternate."""
    monkeypatch.setattr(repeat, "_SMALL", -1 if request.param == "alternating" else 1 << 62)


YES, NO = np.array(True), np.array(False)


# --- If ---------------------------------------------------------------------------------------


def test_if_takes_the_branch_of_its_condition() -> None:
    text = """g (float[N,3] x, bool c) => (float[N,3] y, float[N,3] z) {
        a = Neg(x)
        y, z = If (c) <
            then_branch = t () => (float[N,3] p, float[N,3] q) { p = Exp(a) q = Add(p, x) },
            else_branch = e () => (float[N,3] r, float[N,3] s) { r = Abs(a) s = Mul(r, a) }>
    }"""
    compare(text, {"x": floats(2, 3), "c": YES}, {"x": floats(5, 3), "c": NO})


def test_values_of_a_branch_are_not_taken_for_known_behind_it() -> None:
    # Both branches, and what follows, need the transposed weights: whoever runs must make its own.
    text = """g (float[4,6] x, float[4,6] w, bool c) => (float[6,6] y, float[6,6] z) {
        y = If (c) <
            then_branch = t () => (float[6,6] p) {
                a = Transpose<perm=[1,0]>(x) p = MatMul(a, w) },
            else_branch = e () => (float[6,6] q) {
                b = Transpose<perm=[1,0]>(x) r = MatMul(b, w) q = Neg(r) }>
        c2 = Transpose<perm=[1,0]>(x)
        z = MatMul(c2, w)
    }"""
    x, w = floats(4, 6), floats(4, 6, seed=1)
    compare(text, {"x": x, "w": w, "c": YES}, {"x": x, "w": w, "c": NO})


def test_ifs_inside_ifs() -> None:
    text = """g (float[3] x, bool c, bool d) => (float[3] y) {
        v = If (c) <
            then_branch = t () => (float[3] p) {
                a = Add(x, x)
                p = If (d) <
                    then_branch = t2 () => (float[3] p2) { p2 = Mul(a, x) },
                    else_branch = e2 () => (float[3] q2) { q2 = Sub(a, x) }> },
            else_branch = e () => (float[3] q) { q = Neg(x) }>
        y = Exp(v)
    }"""
    flags = [(a, b) for a in (YES, NO) for b in (YES, NO)]
    compare(text, *({"x": floats(3), "c": c, "d": d} for c, d in flags))


def test_a_condition_decides_about_the_sizes_of_what_follows() -> None:
    """A condition that is computed; results that are outputs, that are read on, and that are as
    they were; several sizes that differ, and none at all.
    """
    text = """g (float[N,3] x, float[3,3] w) => (float[A,B] y, float[C,D] z, float[N,3] k) {
        s = ReduceSum<keepdims=0>(x) zero = Constant<value_float=0.0>() c = Greater(s, zero)
        none = Constant<value_ints=[0]>() one = Constant<value_ints=[1]>()
        y, v, k = If (c) <
            then_branch = t () => (float[E,F] p, float[G,3] q, float[N,3] r) {
                p = Transpose<perm=[1,0]>(x) q = Concat<axis=0>(x, x) r = Exp(x) },
            else_branch = e () => (float[H,I] l, float[J,3] m, float[N,3] n) {
                l = Slice(w, none, one, one) m = Slice(x, none, none) n = Identity(x) }>
        a = MatMul(v, w) z = Softmax(a)
    }"""
    x = np.abs(floats(4, 3))
    weights = floats(3, 3, seed=1)
    compare(text, *({"x": each, "w": weights} for each in (x, -x, x[:2], -x[:2], x[:0])))


def test_a_condition_that_is_given_decides_in_a_variant_and_without_one() -> None:
    text = """g (float[N,3] x, bool c) => (float[M,3] z) {
        y = If (c) <
            then_branch = t () => (float[K,3] w) { w = Concat<axis=0>(x, x) },
            else_branch = e () => (float[N,3] q) { q = Abs(x) }>
        z = Exp(y)
    }"""
    compare(text, {"x": floats(2, 3), "c": YES}, {"x": floats(5, 3), "c": NO})
    program = session(text).engine.program
    assert program.readings and program.metadata["variant_inputs"] == {"values": ["c"]}


def test_a_branch_that_does_not_fit_the_sizes_is_refused_only_where_it_is_taken() -> None:
    text = """g (float[N] x, float[M] w, bool c) => (float[N] y) {
        y = If (c) <
            then_branch = t () => (float[N] p) { s = Add(x, w) k = Constant<value_ints=[0]>()
                m = ReduceMax<keepdims=1>(s, k) p = Add(x, m) },
            else_branch = e () => (float[N] q) { q = Neg(x) }>
    }"""
    ours = session(text)
    x, w = floats(3), floats(4)
    np.testing.assert_array_equal(ours.run(None, {"x": x, "w": w, "c": NO})[0], -x)
    with pytest.raises(KernelError, match="sizes do not fit"):
        ours.run(None, {"x": x, "w": w, "c": YES})
    got = ours.run(None, {"x": x, "w": w[:3], "c": YES})[0]
    np.testing.assert_allclose(got, x + (x + w[:3]).max(), rtol=1e-6)


def test_a_window_beyond_the_image_is_refused_only_where_it_is_taken() -> None:
    text = """g (float[1,1,N] x, bool c) => (float y) {
        y = If (c) <
            then_branch = t () => (float p) {
                a = MaxPool<kernel_shape=[5]>(x) p = ReduceSum<keepdims=0>(a) },
            else_branch = e () => (float q) { q = ReduceSum<keepdims=0>(x) }>
    }"""
    ours = session(text)
    x = floats(1, 1, 3)
    np.testing.assert_allclose(ours.run(None, {"x": x, "c": NO})[0], x.sum(), rtol=1e-5)
    with pytest.raises((KernelError, sardonyx.errors.InvalidArgument)):
        ours.run(None, {"x": x, "c": YES})
    x = floats(1, 1, 6)
    want = np.lib.stride_tricks.sliding_window_view(x[0, 0], 5).max(1).sum()
    np.testing.assert_allclose(ours.run(None, {"x": x, "c": YES})[0], want, rtol=1e-5)


def test_branches_of_other_types_are_refused() -> None:
    with pytest.raises(InvalidModel, match="If node i"):
        sardonyx.Session(
            parsed("""g (float[3] x, bool c) => (float[3] y) {
                [i] y = If (c) <
                    then_branch = t () => (float[3] p) { p = Neg(x) },
                    else_branch = e () => (int32[3] q) { q = Cast<to=6>(x) }>
            }""")
        )


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("optimize", ["none", "all"])
def test_a_condition_of_none_or_of_several_elements_is_refused(size: int, optimize: str) -> None:
    """As an input, as a constant, and where the shape is not declared."""
    values = ", ".join(["1"] * size)
    branches = """y = If (c) <then_branch = t () => (float[3] p) { p = Neg(x) },
                                else_branch = e () => (float[3] q) { q = Abs(x) }>"""
    heads = {
        f"bool[{size}] c": "", "bool[N] c": "",
        "": f"k = Constant<value = int32[{size}] {{{values}}}>() c = Cast<to=9>(k)",
    }  # fmt: skip
    for port, before in heads.items():
        ports = ", ".join(filter(None, ["float[3] x", port]))
        text = f"g ({ports}) => (float[3] y) {{ {before} [i] {branches} }}"
        feeds = {"x": floats(3)} | ({"c": np.ones(size, bool)} if port else {})
        with pytest.raises(sardonyx.SardonyxError, match=r"node 'i' \(If\)|If node '?i"):
            sardonyx.Session(parsed(text), optimize=optimize).run(None, feeds)


# --- Loop -------------------------------------------------------------------------------------


def test_loop_ends_by_its_condition_or_count() -> None:
    text = """g (float[N,3] x, int64 n, bool c) => (float[N,3] y, int64 k) {
        zero = Constant<value_int=0>()
        y, k = Loop (n, c, x, zero) <body = b (int64 i, bool d, float[N,3] v, int64 s)
            => (bool e, float[N,3] w, int64 t) {
                sum = ReduceSum<keepdims=0>(v) limit = Constant<value_float=40.0>()
                e = Less(sum, limit) w = Add(v, x) t = Add(s, i) }>
    }"""
    x = np.abs(floats(2, 3))
    counts = [(0, YES), (1, YES), (3, YES), (1000, YES), (7, NO), (-3, YES)]
    compare(text, *({"x": x, "n": np.array(n), "c": c} for n, c in counts))


def test_states_change_places() -> None:
    text = """g (float[3] a, float[3] b, int64 n) => (float[3] y, float[3] z, float[1,3] u) {
        shape = Constant<value_ints=[1,3]>()
        start = Reshape(a, shape)
        y, z, u = Loop (n, , a, b, start) <body = l (int64 i, bool d, float[3] p, float[3] q,
            float[1,3] r) => (bool e, float[3] q2, float[3] p2, float[1,3] s) {
                e = Identity(d) q2 = Identity(q) p2 = Identity(p) s = Reshape(p, shape) }>
    }"""
    feeds = [{"a": floats(3), "b": floats(3, seed=1), "n": np.array(n)} for n in range(4)]
    compare(text, *feeds)


def test_scan_outputs_lie_one_after_the_other() -> None:
    text = """g (float[N,3] x) => (float[3] y, float[T,3] s, int64[T] t) {
        shape = Shape(x) zero = Constant<value_ints=[0]>() first = Gather(shape, zero)
        n = Squeeze(first, zero)
        start = ReduceMean<keepdims=0>(x, zero)
        y, s, t = Loop (n, , start) <body = b (int64 i, bool d, float[3] v)
            => (bool e, float[3] w, float[3] u, int64 k) {
                e = Identity(d) row = Gather(x, i) w = Add(v, row) u = Mul(w, row)
                k = Mul(i, i) }>
    }"""
    compare(text, {"x": floats(1, 3)}, {"x": floats(6, 3)}, {"x": floats(40, 3)})


def test_numbers_of_iterations_are_read_where_they_are_sizes() -> None:
    text = """g (float[N,3] x, int64 n, bool c) => (float[N,3] y, float[T,N,3] s) {
        y, s = Loop (n, c, x) <body = b (int64 i, bool d, float[N,3] v)
            => (bool e, float[N,3] w, float[N,3] u) {
                e = Identity(d) w = Add(v, x) u = Mul(w, w) }>
    }"""
    x = floats(2, 3)
    compare(text, *({"x": x, "n": np.array(n), "c": YES} for n in (3, 1, 70)))
    for count, flag in ((0, YES), (-5, YES), (9, NO)):
        y, s = session(text).run(None, {"x": x, "n": np.array(count), "c": flag})
        np.testing.assert_array_equal(y, x)
        assert s.shape == (0, 2, 3)


def test_values_from_outside_last_until_the_loop_ends() -> None:
    # The outer value is read first, and memory of what is made later in the body may not be its.
    text = """g (float[64] x, int64 n) => (float[64] y) {
        outer = Exp(x)
        y = Loop (n, , x) <body = b (int64 i, bool d, float[64] v) => (bool e, float[64] w) {
            e = Identity(d) a = Mul(outer, v) s = Softmax(a) c = CumSum(s, zero)
            m = Sub(c, v) w = Tanh(m) zero = Constant<value_int=0>() }>
    }"""
    text = text.replace("zero = Constant<value_int=0>() }>", "}>").replace(
        "outer = Exp(x)", "zero = Constant<value_int=0>() outer = Exp(x)"
    )
    compare(text, *({"x": floats(64), "n": np.array(n)} for n in (1, 2, 9)))


def test_gathered_results_last_from_the_first_iteration() -> None:
    # What an iteration needs for itself may not lie where an earlier one has put its part.
    text = """g (float[4,4] x, float[4,4] y) => (float[4,4] z) {
        two = Constant<value_int=2>()
        v, s = Loop (two, , y) <body = b (int64 i, bool d, float[4,4] p)
            => (bool e, float[4,4] q, float[4,4] r) {
                e = Identity(d) m = MatMul(y, x) q = Identity(p) r = Identity(p) }>
        zero = Constant<value_ints=[0]>()
        z = ReduceMean<keepdims=0>(s, zero)
    }"""
    compare(text, {"x": floats(4, 4), "y": floats(4, 4, seed=1)})


ENDED = """g (float[N,3] x, bool c, float limit)
    => (float[N,3] y, float[T,N,3] s, float[T] z, int64 k) {
    axes = Constant<value_ints=[1, 2]>()
    LIMIT
    y, u, t = Loop (most, c, x) <body = b (int64 i, bool d, float[N,3] v)
        => (bool e, float[N,3] w, float[N,3] p, float q) {
            w = Add(v, x) p = Mul(w, w) q = ReduceSum<keepdims=0>(w) e = Less(q, limit) }>
    s = Neg(u) a = ReduceSum<keepdims=0>(u, axes) z = Add(a, t)
    shape = Shape(s) zero = Constant<value_int=0>() k = Gather(shape, zero)
}"""
LIMITS = [
    "most = Constant<value_int=12>()",
    "most = Constant<value_int=9223372036854775807>()",
    "first = Constant<value_int=0>() r = Shape(x) "
    "rows = Gather(r, first) four = Constant<value_int=4>() most = Mul(rows, four)",
    "",
]


@pytest.mark.parametrize("limit", LIMITS)
def test_results_of_loops_that_end_themselves_are_gathered(limit: str) -> None:
    """Ended by the condition, by the limit, and before the first iteration; sizes that change."""
    text = ENDED.replace("LIMIT", limit)
    if not limit:
        text = text.replace("most,", ",")
    cases = [(3, 30.0), (3, 1e4), (5, 44.0), (2, -1.0), (40, 1e5)]
    feeds = [
        {"x": np.abs(floats(n, 3, seed=n)), "c": YES, "limit": np.array(most, np.float32)}
        for n, most in cases
    ]
    compare(text, *feeds)
    y, s, z, k = session(text).run(None, {**feeds[0], "c": NO})
    np.testing.assert_array_equal(y, feeds[0]["x"])
    assert (s.shape, z.shape, int(k)) == ((0, 3, 3), (0,), 0)  # onnxruntime: (0, 0, 3)


def test_a_loop_without_end_that_gathers_is_ended() -> None:
    text = """g (float[3] x) => (float[T,3] y) <bool yes = {1}> {
        y = Loop ( , yes) <body = b (int64 i, bool d) => (bool e, float[3] w) {
            e = Identity(d) w = Neg(x) }>
    }"""
    with pytest.raises(KernelError, match="max_iterations"):
        session(text, max_iterations=1000).run(None, {"x": floats(3)})


def test_loops_of_nothing() -> None:
    text = """g (float[3] x) => (float[2] s, float[3] y) <bool yes = {1}> {
        two = Constant<value_int=2>() one = Constant<value_float=1.0>()
        s = Loop (two, yes) <body = b (int64 i, bool d) => (bool e, float r) {
            e = Identity(d) f = Cast<to=1>(i) r = Add(f, one) }>
        y = Neg(x)
    }"""
    compare(text, {"x": floats(3)})


def test_loops_inside_loops_and_ifs() -> None:
    text = """g (float[4] x, int64 n, int64 m) => (float[4] y) {
        one = Constant<value_int=1>() zero = Constant<value_int=0>()
        two = Constant<value_int=2>()
        y = Loop (n, , x) <body = b (int64 i, bool d, float[4] v) => (bool e, float[4] w) {
            e = Identity(d)
            inner = Loop (m, , v) <body = b2 (int64 j, bool d2, float[4] v2)
                => (bool e2, float[4] w2) {
                    e2 = Identity(d2) sum = Add(i, j) odd = Mod(sum, two) flag = Equal(odd, one)
                    w2 = If (flag) <
                        then_branch = t () => (float[4] p) { p = Sin(v2) },
                        else_branch = f () => (float[4] q) { q = Add(v2, x) }> }>
            w = Mul(inner, x) }>
    }"""
    counts = [(0, 0), (1, 3), (3, 1), (4, 5), (2, 0)]
    compare(text, *({"x": floats(4), "n": np.array(a), "m": np.array(b)} for a, b in counts))


def test_states_of_no_elements() -> None:
    text = """g (float[N,3] x, int64 n) => (float[N,3] y, int64 k) {
        one = Constant<value_int=1>()
        y, k = Loop (n, , x, one) <body = b (int64 i, bool d, float[N,3] v, int64 c)
            => (bool e, float[N,3] w, int64 f) { e = Identity(d) w = Exp(v) f = Add(c, one) }>
    }"""
    compare(text, {"x": floats(0, 3), "n": np.array(4)}, {"x": floats(2, 3), "n": np.array(2)})


def test_a_loop_without_end_is_ended() -> None:
    text = """g (float[3] x) => (float[3] y) {
        y = Loop ( , , x) <body = b (int64 i, bool d, float[3] v) => (bool e, float[3] w) {
            e = Identity(d) w = Neg(v) }>
    }"""
    with pytest.raises(KernelError, match="max_iterations"):
        session(text, max_iterations=100).run(None, {"x": floats(3)})
    endless = session(text)
    timer = threading.Timer(0.3, lambda: [c.cancel() for c in contexts(endless)])
    timer.start()
    start = time.monotonic()
    with pytest.raises(KernelError, match="cancelled"):
        endless.run(None, {"x": floats(3)})
    assert time.monotonic() - start < 60


def contexts(opened: sardonyx.Session) -> list:
    import gc

    from sardonyx.runtime.executor import Context

    return [
        each for each in gc.get_objects()
        if isinstance(each, Context) and each.program is opened.engine.program
    ]  # fmt: skip


def test_profile_adds_up_what_repeated_steps_take() -> None:
    text = """g (float[64,64] x, int64 n) => (float[64,64] y) {
        y = Loop (n, , x) <body = b (int64 i, bool d, float[64,64] v) => (bool e, float[64,64] w) {
            e = Identity(d) s = Softmax(v) w = Tanh(s) }>
    }"""
    ours = session(text, threads=1)
    profile = ours.engine.profile({"x": floats(64, 64), "n": np.array(50)}, 3, 1)
    for run, total in enumerate(profile.total_ns):
        times = [step.times_ns[run] for step in profile.steps]
        assert min(times) >= 0
        assert sum(times) <= 1.05 * total
    once = ours.engine.profile({"x": floats(64, 64), "n": np.array(1)}, 3, 1)
    assert profile.total_ns.min() > once.total_ns.min()


@pytest.mark.parametrize("threads", [1, 2])
def test_trace_follows_the_run(threads: int) -> None:
    text = """g (float[3] x, int64 n, bool c) => (float[3] y) {
        a = If (c) <then_branch = t () => (float[3] p) { p = Exp(x) },
            else_branch = e () => (float[3] q) { q = Neg(x) }>
        y = Loop (n, , a) <body = b (int64 i, bool d, float[3] v) => (bool e2, float[3] w) {
            e2 = Identity(d) w = Add(v, x) }>
    }"""
    x = floats(3)
    for flag in (YES, NO):
        traced = session(text).engine.trace({"x": x, "n": np.array(3), "c": flag})
        want = (np.exp(x) if flag else -x) + 3 * x
        np.testing.assert_allclose(traced["y"], want, rtol=1e-5)


# --- Scan -------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("out_axis", [0, 1, -1])
@pytest.mark.parametrize("back", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_scan(axis: int, out_axis: int, back: tuple[int, int]) -> None:
    shape = ["M", "K", "L"]
    del shape[axis]
    part = ",".join(shape)
    out = list(shape)
    out.insert(out_axis % 3, "S")
    text = f"""g (float[{part}] h, float[M,K,L] x) => (float[{part}] y, float[{",".join(out)}] s) {{
        y, s = Scan<num_scan_inputs=1, scan_input_axes=[{axis}], scan_output_axes=[{out_axis}],
            scan_input_directions=[{back[0]}], scan_output_directions=[{back[1]}],
            body = b (float[{part}] v, float[{part}] a) => (float[{part}] w, float[{part}] u) {{
                w = Add(v, a) u = Mul(w, a) }}>(h, x)
    }}"""
    feeds = []
    for sizes in ((2, 3, 4), (1, 5, 1), (7, 2, 3)):
        x = floats(*sizes)
        feeds.append({"x": x, "h": np.delete(np.array(x), slice(1, None), axis).squeeze(axis)})
    compare(text, *feeds)


def test_scan_of_several_operands_and_no_state() -> None:
    text = """g (float[N,3] x, float[N] w) => (float[N,3] s, float[N] t) {
        s, t = Scan<num_scan_inputs=2, body = b (float[3] a, float c)
            => (float[3] u, float v) { u = Mul(a, c) v = ReduceSum<keepdims=0>(u) }>(x, w)
    }"""
    compare(text, {"x": floats(4, 3), "w": floats(4)}, {"x": floats(1, 3), "w": floats(1)})


def test_scan_operands_of_other_lengths_are_refused() -> None:
    text = """g (float[N,3] x, float[M] w) => (float[N,3] s) {
        s = Scan<num_scan_inputs=2, body = b (float[3] a, float c) => (float[3] u) {
            u = Mul(a, c) }>(x, w)
    }"""
    ours = session(text)
    with pytest.raises(sardonyx.errors.InvalidArgument, match="scanned axes"):
        ours.run(None, {"x": floats(4, 3), "w": floats(3)})
