"""Sessions with states on the simulated GPU: caches that grow there, and states handed on."""

import numpy as np
import onnx.parser
import pytest
import sardonyx
from sardonyx.runtime.devices.cuda.simulator import Simulator
from sardonyx.tools.cuda_cases.runs import floats

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
SCATTERED = """g (float[batch, step, 8] k, float[batch, 20, 8] past_0, int64[batch] at)
    => (float[batch, 20, 8] y, float[batch, 20, 8] present_0) {
        present_0 = TensorScatter<axis=1>(past_0, k, at)
        y = Neg(present_0)
    }"""
ON_THE_HOST = """g (float[batch, 3, 3] x, float[batch, 3, past] past_0)
    => (float[batch] y, float[batch, 3, all] present_0) {
        present_0 = Concat<axis=2>(past_0, x)
        y = Det(x)
    }"""


def model(text):
    header = '<ir_version: 10, opset_import: ["" : 24]>'
    return onnx.parser.parse_model(header + text).SerializeToString()


def both(text, states=None, **options):
    opened = (sardonyx.Session(model(text), device=device) for device in ("cuda", "cpu"))
    return [session.stateful(states, **options) for session in opened]


def agree(pair, feeds):
    got, wanted = (each.run(None, feeds) for each in pair)
    for one, other in zip(got, wanted, strict=True):
        assert isinstance(one, np.ndarray)
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert pair[0].length == pair[1].length


def test_caches_grow_in_the_memory_of_the_gpu():
    pair = both(CACHE, capacity=4)
    for seed, step in enumerate([3, 1, 1, 5, 1, 2, 1]):
        agree(pair, {"x": floats(2, 2, step, 3, seed=seed)})
    for name in pair[0].state_names:
        np.testing.assert_allclose(pair[0].state(name), pair[1].state(name))
    for each in pair:
        each.reset()
    agree(pair, {"x": floats(1, 2, 2, 3)})
    given = floats(2, 2, 3, 3)
    agree(pair, {"x": floats(2, 2, 1, 3), "past_0": given})


def test_only_new_rows_are_copied(monkeypatch):
    decoder = both(CACHE, capacity=64)[0]
    decoder.run(None, {"x": floats(2, 2, 3, 3)})
    sizes, to_device = [], Simulator.to_device

    def noted(self, copy, follows=True):
        sizes.append(copy.size)
        to_device(self, copy, follows)

    monkeypatch.setattr(Simulator, "to_device", noted)
    decoder.run(None, {"x": floats(2, 2, 1, 3)})
    cache = 2 * 2 * 64 * 3 * 4
    assert 48 in sizes  # the new row; others are records of launches
    assert cache not in sizes


def test_caches_of_attention():
    pair = both(ATTENTION, capacity=8)
    for seed, step in enumerate([4, 1, 1, 1, 3, 1]):
        agree(pair, {"q": floats(2, 4, step, 8, seed=seed), "k": floats(2, 2, step, 8, seed=seed),
                     "v": floats(2, 2, step, 8, seed=seed + 9)})  # fmt: skip


def test_other_states_stay_on_the_gpu():
    pair = both(SUMS, {"next": "h"})
    for seed in range(5):
        agree(pair, {"x": floats(2, 4, seed=seed)})
    np.testing.assert_allclose(pair[0].state("h"), pair[1].state("h"), rtol=1e-6)
    agree(pair, {"x": floats(2, 4), "h": floats(2, 4, seed=7)})
    with pytest.raises(sardonyx.InvalidArgument):
        pair[0].run(None, {"x": floats(3, 5)})
    agree(pair, {"x": floats(2, 4)})


def test_rows_of_a_cache_are_replaced():
    pair = both(SCATTERED)
    first = {"past_0": floats(2, 20, 8)}
    for at in (0, 3, 17, 5):
        feeds = {"k": floats(2, 2, 8, seed=at), "at": np.array([at, max(at - 1, 0)])}
        agree(pair, feeds | (first if at == 0 else {}))


def test_a_cache_beside_steps_of_the_cpu():
    pair = both(ON_THE_HOST, capacity=4)
    for seed in range(4):
        agree(pair, {"x": floats(2, 3, 3, seed=seed)})
    np.testing.assert_allclose(pair[0].state("past_0"), pair[1].state("past_0"))
