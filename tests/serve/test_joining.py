import numpy as np
import pytest
from sardonyx import Session
from sardonyx.errors import InvalidArgument, KernelError
from sardonyx.runtime.cancellation import Cancellation
from sardonyx.tests.serve import models
from sardonyx.tools.serving.joining import Joiner, kind, obstacle
from sardonyx.tools.serving.ports import ports


def opened(model):
    session = Session(model, threads=1)
    runs = []

    def run(feeds, cancellation):
        runs.append(next(iter(feeds.values())).shape[0])
        return session.run(None, feeds, cancellation)

    found = obstacle(ports(session.get_inputs()), ports(session.get_outputs()))
    return Joiner(run, found), session, runs


def requests(rng, *rows):
    return [{"x": rng.standard_normal((count, 4), np.float32)} for count in rows]


def test_joined_requests_have_the_results_of_single_ones(rng):
    joiner, session, runs = opened(models.TWICE)
    given = requests(rng, 1, 2, 3)
    for _ in range(2):
        results = joiner(given, Cancellation())
        for feeds, outputs in zip(given, results, strict=True):
            np.testing.assert_array_equal(outputs[0], session.run(None, feeds)[0])
    assert joiner.why_not == ""
    assert runs == [1, 1, 2, 6, 6]  # the proof, and two joined runs


def test_a_model_that_mixes_rows_is_never_joined(rng):
    joiner, session, runs = opened(models.CENTRED)
    given = requests(rng, 2, 2)
    for _ in range(2):
        results = joiner(given, Cancellation())
        for feeds, outputs in zip(given, results, strict=True):
            np.testing.assert_allclose(outputs[0], session.run(None, feeds)[0], atol=1e-6)
    assert "differ" in joiner.why_not
    assert runs == [2, 2, 4, 2, 2, 2, 2]


def test_constant_inputs_prove_nothing():
    joiner, _, _ = opened(models.CENTRED)
    zeros = [{"x": np.zeros((1, 4), np.float32)}] * 2
    for _ in range(4):
        assert [each[0].tolist() for each in joiner(zeros, Cancellation())] == [[[0.0] * 4]] * 2
    assert "constant" in joiner.why_not


def test_the_fault_of_one_is_not_that_of_the_others(rng):
    joiner, session, _ = opened(models.PICKED)
    given = [
        {"x": rng.standard_normal((2, 4), np.float32), "at": np.array(at)}
        for at in ([0, 3], [1, 9], [2, 2])
    ]
    first, bad, last = joiner(given, Cancellation())
    assert isinstance(bad, KernelError)
    np.testing.assert_array_equal(first[0], session.run(None, given[0])[0])
    np.testing.assert_array_equal(last[0], session.run(None, given[2])[0])


def test_an_unfit_request_is_refused_alone(rng):
    joiner, _, _ = opened(models.TWICE)
    bad = {"x": np.zeros((1, 5), np.float32)}
    outcomes = joiner([*requests(rng, 1), bad], Cancellation())
    assert isinstance(outcomes[1], InvalidArgument)
    assert not isinstance(outcomes[0], Exception)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("(float[N, 4] x) => (float[N, 4] y) { y = Relu(x) }", ""),
        ("(float[2, 4] x) => (float[2, 4] y) { y = Relu(x) }", "'x' is 2"),
        ("(float x) => (float y) { y = Relu(x) }", "'x' has no first dimension"),
        ("(float[N, M] x) => (float[M, N] y) { y = Transpose(x) }", "first dimensions differ"),
        ("(float[N, 4] x, float[M, 4] z) => (float[N, 4] y, float[M, 4] w) "
         "{ y = Relu(x) w = Relu(z) }", "first dimensions differ"),
        ("(float[N, 4] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }", "'y' has no first"),
    ],
)  # fmt: skip
def test_what_cannot_be_joined_is_said(text, why):
    session = Session(models.made("agraph " + text), threads=1)
    found = obstacle(ports(session.get_inputs()), ports(session.get_outputs()))
    assert (why in found) if why else found == ""


def test_other_sizes_and_types_are_other_kinds():
    one = {"x": np.zeros((1, 4), np.float32)}
    assert kind(one) == kind({"x": np.zeros((3, 4), np.float32)})
    assert kind(one) != kind({"x": np.zeros((1, 5), np.float32)})
    assert kind(one) != kind({"x": np.zeros((1, 4), np.float64)})
