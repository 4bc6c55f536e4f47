"""Sessions with states: caches that grow in place, and states handed on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx
from sardonyx.errors import InvalidArgument
from sardonyx.runtime.binding import Binding
from sardonyx.runtime.stateful import Stateful, matched_states

F32 = np.float32
CACHE = """g (float[batch, 2, step, 3] x, float[batch, 2, past, 3] past_0)
    => (float[batch, 2, all, 3] y, float[batch, 2, all, 3] present_0) {
        present_0 = Concat<axis=2>(past_0, x)
        y = Exp(present_0)
    }"""
SUMS = """g (float[batch, 4] x, float[batch, 4] h) => (float[batch, 4] y, float[batch, 4] next) {
    next = Add(h, x)
    y = Mul(next, next)
}"""
ATTENTION = """g (float[batch, 4, step, 8] q, float[batch, 2, step, 8] k,
    float[batch, 2, step, 8] v, float[batch, 2, past, 8] past_key,
    float[batch, 2, past, 8] past_value)
    => (float[batch, 4, step, 8] y, float[batch, 2, all, 8] present_key,
        float[batch, 2, all, 8] present_value) {
        y, present_key, present_value = Attention<is_causal=1>(q, k, v, , past_key, past_value)
    }"""


GROUPS = """g (int64[batch, total] mask, float[batch, step, {packed}] q, {others}
    float[batch, 2, past, 16] past_key_values_0_key,
    float[batch, 2, past, 16] past_key_values_0_value,
    float[80, 8] cos, float[80, 8] sin)
    => (float[batch, step, 64] y, float[batch, 2, total, 16] present_0_key,
        float[batch, 2, total, 16] present_0_value) {{
        one = Constant<value = int64[1] {{1}}>()
        sums = ReduceSum<keepdims=1>(mask, one)
        last = Sub(sums, one)
        lengths = Cast<to=6>(last)
        shape = Shape(mask)
        longest = Gather(shape, one)
        longest_32 = Cast<to=6>(longest)
        y, present_0_key, present_0_value = com.microsoft.GroupQueryAttention<
            num_heads=4, kv_num_heads=2, do_rotary=1>(q, {names}, past_key_values_0_key,
            past_key_values_0_value, lengths, longest_32, cos, sin)
    }}"""
SCATTERED = """g (float[batch, step, 8] k, float[batch, 20, 8] past_0, int64[batch] at)
    => (float[batch, 20, 8] y, float[batch, 20, 8] present_0) {
        present_0 = TensorScatter<axis=1>(past_0, k, at)
        y = Neg(present_0)
    }"""
MERGED = """g (float[batch, 2, step, 3] x, float[batch, 2, places, 3] other, bool[1] use_cache,
    float[batch, 2, past, 3] past_0, float[batch, 2, kept, 3] past_1)
    => (float[batch, 2, all, 3] y, float[batch, 2, all, 3] present_0,
        float[batch, 2, places, 3] present_1) <int64[1] axes = {2}> {
        y, present_0, present_1 = If (use_cache) <
            then_branch = with_past () => (y1, all1, nothing) {
                all1 = Concat<axis=2>(past_0, x)
                sum1 = ReduceSum(past_1, axes)
                y1 = Add(all1, sum1)
                nothing = Constant<value = float[0, 2, 1, 3] {}> ()
            },
            else_branch = without_past () => (y2, all2, other2) {
                all2 = Mul(x, x)
                other2 = Exp(other)
                sum2 = ReduceSum(other2, axes)
                y2 = Add(all2, sum2)
            }
        >
    }"""
"""A decoder with a branch for the first run, which alone makes the keys of an encoder."""


def grown(decoder: Stateful) -> list[int]:
    """Axes of what grows in place."""
    variants = decoder._variants.values()
    return [cache.axis for each in variants for cache in each.caches.values()]


def model(text: str, opset: int = 23) -> bytes:
    parsed = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}]>\n' + text)
    return bytes(parsed.SerializeToString())


def floats(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(F32)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_caches_grow_in_place(batch: int, threads: int) -> None:
    decoder = sardonyx.Session(model(CACHE), threads=threads).stateful(capacity=4)
    assert grown(decoder) == [2]
    assert decoder.output_names == ["y"]
    for _ in range(2):
        whole = np.zeros((batch, 2, 0, 3), F32)
        for index, step in enumerate((3, 1, 1, 7, 1, 2, 30, 1)):
            new = floats(batch, 2, step, 3, seed=index)
            whole = np.concatenate([whole, new], 2)
            (y,) = decoder.run(None, {"x": new})
            np.testing.assert_allclose(y, np.exp(whole), rtol=1e-6)
            assert decoder.length == whole.shape[2]
            np.testing.assert_array_equal(decoder.state("past_0"), whole)
        decoder.reset()
        assert decoder.length == 0


def test_steps_neither_plan_nor_allocate(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = sardonyx.Session(model(CACHE), threads=1).stateful(capacity=64)
    decoder.run(None, {"x": floats(1, 2, 8, 3)})
    binding = decoder._variants[()].context.binding
    planned = []
    monkeypatch.setattr(binding, "_plan_memory", lambda phase: planned.append(phase))
    memory = decoder._arrays["past_0"].ctypes.data
    for index in range(7):
        decoder.run(None, {"x": floats(1, 2, 1, 3, seed=index)})
    assert not planned
    assert decoder._arrays["past_0"].ctypes.data == memory


MASKED = """g (float[1, 2, step, 8] q, float[1, 2, step, 8] k, float[1, 1, rows, total] mask,
    float[1, 2, past, 8] past_key) => (float[1, 2, step, 8] y, float[1, 2, all, 8] present_key) {
        present_key = Concat<axis=2>(past_key, k)
        turned = Transpose<perm=[0, 1, 3, 2]>(present_key)
        scores = MatMul(q, turned)
        factors = Exp(mask)
        less = Sub(factors, mask)
        masked = Mul(scores, less)
        p = Softmax(masked)
        y = MatMul(p, present_key)
    }"""
"""The mask is as long as the cache, which only the numbers of runs say."""


@pytest.mark.parametrize(
    ("steps", "plans"),
    [
        ([4] + [1] * 60, 1),
        ([1] * 64, 1),
        ([40] + [1] * 24, 1),
        ([3] + [5] * 12 + [1], 2),  # the second for the longer steps
    ],
)
def test_memory_is_planned_once_for_full_caches(
    steps: list[int], plans: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = []
    plan = Binding._plan_memory
    monkeypatch.setattr(
        Binding, "_plan_memory", lambda self, phase: (planned.append(phase), plan(self, phase))
    )
    session = sardonyx.Session(model(MASKED), threads=1)
    decoder = session.stateful(capacity=64)
    other = onnxruntime.InferenceSession(model(MASKED))
    past = np.zeros((1, 2, 0, 8), F32)
    planned.clear()
    for index, step in enumerate(steps):
        length = past.shape[2] + step
        feeds = {
            "q": floats(1, 2, step, 8, seed=index),
            "k": floats(1, 2, step, 8, seed=-index % 7),
        }
        feeds["mask"] = floats(1, 1, step, length, seed=index)
        (y,) = decoder.run(None, feeds)
        wanted, past = other.run(None, {**feeds, "past_key": past})
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-5)
        assert len(planned) <= plans, index
    assert decoder.length == 64


def test_first_values_may_be_given() -> None:
    decoder = sardonyx.Session(model(CACHE)).stateful(capacity=2)
    past, new = floats(2, 2, 5, 3), floats(2, 2, 1, 3, seed=1)
    (y,) = decoder.run(["y"], {"x": new, "past_0": past})
    np.testing.assert_allclose(y, np.exp(np.concatenate([past, new], 2)), rtol=1e-6)
    (y,) = decoder.run(None, {"x": new})
    assert y.shape[2] == 7
    past[:] = 0  # the cache is the session's own
    (y,) = decoder.run(None, {"x": new})
    assert y.shape[2] == 8 and (y[:, :, :5] != 1).any()


def test_states_of_other_lengths_have_the_same_room() -> None:
    text = """g (float[1, step, 3] x, float[1, first, 3] past_0, float[1, second, 3] past_1)
        => (float y, float[1, a, 3] present_0, float[1, b, 3] present_1) {
            present_0 = Concat<axis=1>(past_0, x)
            present_1 = Concat<axis=1>(past_1, x)
            s = ReduceSum<keepdims=0>(present_0)
            t = ReduceSum<keepdims=0>(present_1)
            y = Add(s, t)
        }"""
    for lengths in ((2, 40), (40, 2)):
        decoder = sardonyx.Session(model(text)).stateful(capacity=4)
        pasts = {f"past_{i}": floats(1, n, 3, seed=i) for i, n in enumerate(lengths)}
        decoder.run(None, {"x": floats(1, 1, 3), **pasts})
        assert len({array.shape for array in decoder._arrays.values()}) == 1
        decoder.run(None, {"x": floats(1, 2, 3, seed=5)})
        longer = {"past_0": floats(1, 90, 3, seed=7)}  # of one only
        decoder.run(None, {"x": floats(1, 1, 3, seed=6), **longer})
        assert len({array.shape for array in decoder._arrays.values()}) == 1
        added = [floats(1, n, 3, seed=s) for n, s in ((1, 0), (2, 5), (1, 6))]
        second = np.concatenate([pasts["past_1"], *added], 1)
        np.testing.assert_array_equal(decoder.state("past_1"), second)
        first = np.concatenate([longer["past_0"], added[2]], 1)
        np.testing.assert_array_equal(decoder.state("past_0"), first)


def test_states_may_lie_in_memory_as_they_like() -> None:
    decoder = sardonyx.Session(model(SUMS)).stateful({"next": "h"})
    h, x = floats(4, 3).T, floats(3, 4, seed=1)
    (y,) = decoder.run(None, {"x": x, "h": h})
    np.testing.assert_allclose(y, (h + x) ** 2, rtol=1e-5)
    with pytest.raises(InvalidArgument, match="float64"):
        decoder.run(None, {"x": x, "h": h.astype(np.float64)})
    cache = sardonyx.Session(model(CACHE)).stateful()
    with pytest.raises(InvalidArgument, match="float64"):
        cache.run(None, {"x": floats(1, 2, 1, 3), "past_0": np.zeros((1, 2, 4, 3))})


def test_other_states_are_handed_on() -> None:
    decoder = sardonyx.Session(model(SUMS)).stateful({"next": "h"})
    total = np.zeros((3, 4), F32)
    for index in range(5):
        x = floats(3, 4, seed=index)
        total = total + x
        (y,) = decoder.run(None, {"x": x})
        np.testing.assert_allclose(y, total * total, rtol=1e-5)
    np.testing.assert_allclose(decoder.state("h"), total, rtol=1e-5)


@pytest.mark.parametrize("threads", [1, 2])
def test_caches_of_attention(threads: int) -> None:
    session = sardonyx.Session(model(ATTENTION), threads=threads)
    decoder = session.stateful(capacity=4)
    assert grown(decoder) == [2, 2]
    other = onnxruntime.InferenceSession(model(ATTENTION))
    past = {name: np.zeros((2, 2, 0, 8), F32) for name in ("past_key", "past_value")}
    for index, step in enumerate((5, 1, 1, 1, 6, 1)):
        sizes = {"q": 4, "k": 2, "v": 2}
        new = {
            n: floats(2, heads, step, 8, seed=10 * index + i)
            for i, (n, heads) in enumerate(sizes.items())
        }
        if past["past_key"].shape[2]:
            want, *caches = other.run(None, {**new, **past})
        else:
            want, *caches = session.run(None, {**new, **past})
        past = dict(zip(past, caches, strict=True))
        (got,) = decoder.run(None, new)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        for name, array in past.items():
            np.testing.assert_array_equal(decoder.state(name), array)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_caches_of_groups(batch: int, packed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As onnxruntime's exporters of decoders write them."""
    apart = "float[batch, step, 32] k, float[batch, step, 32] v,"
    text = GROUPS.format(
        packed=128 if packed else 64,
        others="" if packed else apart,
        names="," if packed else "k, v",
    )
    opsets = '"" : 18, "com.microsoft" : 1'
    proto = onnx.parser.parse_model(f"<ir_version: 8, opset_import: [{opsets}]>\n" + text)
    other = onnxruntime.InferenceSession(proto.SerializeToString())
    decoder = sardonyx.Session(proto.SerializeToString()).stateful(capacity=64)
    assert grown(decoder) == [2, 2]
    planned: list[int] = []
    past = {f"past_key_values_0_{n}": np.zeros((batch, 2, 0, 16), F32) for n in ("key", "value")}
    angles = np.random.default_rng(5).uniform(-3, 3, (80, 8))
    feeds = {"cos": np.cos(angles).astype(F32), "sin": np.sin(angles).astype(F32)}
    length = 0
    for index, step in enumerate((5, 1, 1, 1, 1)):
        length += step
        feeds["mask"] = np.ones((batch, length), np.int64)
        widths = {"q": 128} if packed else {"q": 64, "k": 32, "v": 32}
        for i, (name, width) in enumerate(widths.items()):
            feeds[name] = floats(batch, step, width, seed=10 * index + i)
        want, *caches = other.run(None, {**feeds, **past})
        past = dict(zip(past, caches, strict=True))
        (got,) = decoder.run(None, feeds)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5)
        for name, array in past.items():
            np.testing.assert_allclose(decoder.state(name), array, rtol=1e-5, atol=1e-6)
        monkeypatch.setattr(decoder._variants[()].context.binding, "_plan_memory", planned.append)
    assert not planned


def test_rows_of_a_cache_are_replaced_in_place() -> None:
    decoder = sardonyx.Session(model(SCATTERED, 24)).stateful()
    assert grown(decoder) == [1]
    whole = np.zeros((3, 20, 8), F32)
    past: dict[str, np.ndarray] = {"past_0": whole}
    for index, (step, at) in enumerate(((4, 0), (1, 4), (2, 11), (3, 6))):
        rows, places = floats(3, step, 8, seed=index), np.array([at, at + 1, at + 2])
        for b, place in enumerate(places):
            whole[b, place : place + step] = rows[b]
        (y,) = decoder.run(None, {"k": rows, "at": places, **past})
        past = {}
        np.testing.assert_array_equal(y, -whole)
        np.testing.assert_array_equal(decoder.state("past_0"), whole)


def test_old_values_that_others_read_stay() -> None:
    text = SCATTERED.replace("Neg(present_0)", "Sub(present_0, past_0)")
    session = sardonyx.Session(model(text, 24))
    decoder = session.stateful()
    assert not grown(decoder)
    old = floats(1, 20, 8)
    (y,) = decoder.run(None, {"k": floats(1, 2, 8, seed=1), "at": np.array([3]), "past_0": old})
    assert (y[:, 3:5] != 0).all() and not y[:, :3].any() and not y[:, 5:].any()


def wanted(feeds: dict[str, np.ndarray], past: list[np.ndarray]) -> tuple[np.ndarray, ...]:
    """Compute what the decoder with two branches gives, its states without the constant."""
    x, whole, other = feeds["x"], *past
    if feeds["use_cache"][0]:
        whole = np.concatenate([whole, x], 2)
    else:
        whole, other = x * x, np.exp(feeds["other"])
    return whole + other.sum(2, keepdims=True), whole, other


@pytest.mark.parametrize("given", [False, True])
def test_branches_hand_states_to_each_other(given: bool) -> None:
    session = sardonyx.Session(model(MERGED, 18), threads=1)
    decoder = session.stateful(capacity=4)
    assert grown(decoder) == [2] and decoder.output_names == ["y"]
    for _ in range(2):
        past = [np.zeros((1, 2, 0, 3), F32)] * 2
        feeds: dict[str, np.ndarray] = {}
        if given:  # states may be given to either branch
            past = [floats(1, 2, n, 3, seed=n) for n in (6, 2)]
            feeds = dict(zip(("past_0", "past_1"), past, strict=True))
        steps = [(3, given), (1, True), (7, True), (1, True), (2, False), (1, True), (1, True)]
        for index, (step, uses) in enumerate(steps):
            feeds["x"], feeds["use_cache"] = floats(1, 2, step, 3, seed=index), np.array([uses])
            feeds["other"] = floats(1, 2, 5, 3, seed=index)
            y, *past = wanted(feeds, past)
            np.testing.assert_allclose(decoder.run(None, feeds)[0], y, rtol=1e-5, atol=1e-6)
            assert decoder.length == past[0].shape[2]
            for name, array in zip(("past_0", "past_1"), past, strict=True):
                np.testing.assert_allclose(decoder.state(name), array, rtol=1e-6)
            feeds = {}
        decoder.reset()


def test_what_decides_about_branches_is_one_number() -> None:
    decoder = sardonyx.Session(model(MERGED, 18)).stateful()
    feeds = {"x": floats(1, 2, 1, 3), "other": floats(1, 2, 1, 3)}
    for flag in (np.array([1]), np.array([True, False]), np.array([])):
        with pytest.raises(InvalidArgument, match="one element of bool"):
            decoder.run(None, {**feeds, "use_cache": flag})
    with pytest.raises(InvalidArgument, match="missing"):
        decoder.run(None, feeds)


def test_numbers_that_decide_have_programs_up_to_a_limit() -> None:
    text = SUMS.replace("float[batch, 4] h)", "float[rows, 4] h, int64 n)").replace(
        "next = Add(h, x)",
        """two = Constant<value_int=2>()
        odd = Mod(n, two)
        is_odd = Cast<to=9>(odd)
        next = If(is_odd) <then_branch = a () => (next1) { next1 = Concat<axis=0>(h, x) },
                           else_branch = b () => (next2) { next2 = Sub(h, x) }>""",
    )
    decoder = sardonyx.Session(model(text, 18)).stateful({"next": "h"})
    h = floats(1, 4, seed=99)
    given = {"h": h}
    for n in [*range(20), 3, 18]:
        x = floats(1, 4, seed=n)
        h = np.concatenate([h, x]) if n % 2 else h - x
        (y,) = decoder.run(None, {"x": x, "n": np.array(n), **given})
        np.testing.assert_allclose(y, h * h, rtol=1e-4, atol=1e-5)
        given = {}
    assert len(decoder._variants) <= 17


def test_artifacts_have_states(tmp_path: Path) -> None:
    sardonyx.Session(model(CACHE)).save(tmp_path / "decoder.sdx")
    assert grown(sardonyx.Session(tmp_path / "decoder.sdx").stateful()) == [2]


def test_sessions_of_one_model_have_states_of_their_own() -> None:
    session = sardonyx.Session(model(CACHE))
    first, second = session.stateful(), session.stateful()
    first.run(None, {"x": floats(1, 2, 3, 3)})
    second.run(None, {"x": floats(1, 2, 1, 3)})
    assert (first.length, second.length) == (3, 1)


def test_names_of_exporters() -> None:
    pairs = {
        "present.0.key": "past_key_values.0.key",
        "present.1.decoder.value": "past_key_values.1.decoder.value",
        "cache.layers.0.keys": "cache_layers_0_keys",
        "present_3": "past_3",
        "present_key": "past_key",
    }
    outputs = ["logits", *pairs]
    assert matched_states(["input_ids", *pairs.values()], outputs) == pairs


def test_what_is_no_state_is_refused() -> None:
    session = sardonyx.Session(model(SUMS))
    for states in ({"next": "z"}, {"z": "h"}, {"next": "h", "y": "h"}, {}, None):
        with pytest.raises(InvalidArgument):
            session.stateful(states)
    with pytest.raises(InvalidArgument):
        session.stateful({"next": "h"}, capacity=0)
    decoder = session.stateful({"next": "h"})
    with pytest.raises(InvalidArgument, match="no state"):
        decoder.state("h")
    with pytest.raises(InvalidArgument, match="no output"):
        decoder.run(["z"], {"x": floats(1, 4)})
    with pytest.raises(InvalidArgument, match="missing"):
        decoder.run(None, {})
    cache = sardonyx.Session(model(CACHE)).stateful()
    with pytest.raises(InvalidArgument):
        cache.run(None, {"x": floats(1, 2, 1, 3), "past_0": floats(1, 2, 3)})
    with pytest.raises(InvalidArgument):
        cache.run(None, {"x": floats(2, 2, 1, 3), "past_0": floats(1, 2, 4, 3)})


def test_rows_in_place_are_not_overwritten_by_a_run_that_fails() -> None:
    decoder = sardonyx.Session(model(SCATTERED, 24)).stateful()
    past = floats(3, 20, 8)
    decoder.run(None, {"k": past[:, :2], "past_0": past, "at": np.zeros(3, np.int64)})
    before = decoder.state("past_0").copy()
    for at in ([0, 5, 19], [0, -1, 2], [3, 4, 2**40]):
        with pytest.raises(sardonyx.KernelError, match="TensorScatter"):
            decoder.run(None, {"k": np.zeros((3, 2, 8), F32), "at": np.array(at)})
        np.testing.assert_array_equal(decoder.state("past_0"), before)
    decoder.run(None, {"k": np.zeros((3, 2, 8), F32), "at": np.array([0, 5, 18])})
    assert (decoder.state("past_0") != before).any()
