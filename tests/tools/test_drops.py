"""Drops are what scikit-learn and scipy say of the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx import InvalidArgument
from sardonyx.tools.drops import drop, held_back, split

F32 = np.float32


def results(seed: int, rows: int = 40) -> list[list[np.ndarray]]:
    """Logits of two runs."""
    rng = np.random.default_rng(seed)
    return [[rng.standard_normal((count, 7)).astype(F32)] for count in (rows - 10, 10)]


def joined(runs: list[list[np.ndarray]]) -> np.ndarray:
    return np.concatenate([run[0] for run in runs]).astype(np.float64)


def test_accuracy():
    metrics = pytest.importorskip("sklearn.metrics")
    a, b, labels = results(0), results(1), np.arange(40) % 7
    scores = [metrics.accuracy_score(labels, joined(each).argmax(1)) for each in (a, b)]
    assert drop(None, a, b, labels) == pytest.approx(100 * (scores[0] - scores[1]))
    assert drop("accuracy", a, a, labels) == 0


def test_cosine():
    distance = pytest.importorskip("scipy.spatial.distance")
    a, b = results(0), results(1)
    found = np.mean([distance.cosine(x, y) for x, y in zip(joined(a), joined(b), strict=True)])
    assert drop(None, a, b, None) == pytest.approx(100 * found)


@pytest.mark.parametrize("as_probabilities", [False, True])
def test_divergence(as_probabilities):
    special = pytest.importorskip("scipy.special")
    a, b = results(0), results(1)
    p, q = (special.softmax(joined(each), axis=1) for each in (a, b))
    found = special.rel_entr(p, q).sum(1).mean()
    given = ([[p.astype(F32)]], [[q.astype(F32)]]) if as_probabilities else (a, b)
    assert drop("kl", *given, None) == pytest.approx(100 * found, rel=1e-4)


def test_top1_is_of_the_worst_output():
    a, b = results(0), results(1)
    both = [[x, x] for (x,) in a], [[x, y] for (x,), (y,) in zip(a, b, strict=True)]
    found = (joined(a).argmax(1) != joined(b).argmax(1)).mean()
    assert drop("top1", *both, None) == pytest.approx(100 * found)


def test_a_function_gets_all_outputs():
    """One array where there is one output, a list where there are two, runs where sizes differ."""
    seen: list[Any] = []

    def score(outputs: Any, labels: Any) -> float:
        seen.append(outputs)
        return 0.75 if len(seen) % 2 else 0.5

    a = results(0)
    assert drop(score, a, a, None) == 25
    assert seen[-1].shape == (40, 7)
    drop(score, [[*run, run[0]] for run in a], [[*run, run[0]] for run in a], None)
    assert [each.shape for each in seen[-1]] == [(40, 7), (40, 7)]
    odd = [[np.zeros((2, 3))], [np.zeros((2, 4))]]
    drop(score, odd, odd, None)
    assert [each.shape for each in seen[-1]] == [(2, 3), (2, 4)]


def test_single_numbers_are_compared_over_all_samples():
    """The angle of two numbers is nothing, whatever they are."""
    exact = [[np.array([[1.0], [2.0]], F32)], [np.array([[-3.0]], F32)]]
    other = [[np.array([[2.0], [1.0]], F32)], [np.array([[-3.0]], F32)]]
    expected = 100 * (1 - 13 / 14)
    assert drop("cosine", exact, other, None) == pytest.approx(expected)
    assert drop("cosine", exact, exact, None) == 0
    for metric, labels in (("top1", None), ("kl", None), ("accuracy", np.array([0, 0, 0]))):
        with pytest.raises(InvalidArgument, match="along the last axis"):
            drop(metric, exact, other, labels)


def test_nan_is_a_drop_that_no_budget_holds():
    a = results(0)
    broken = [[np.full_like(run[0], np.nan)] for run in a]
    for metric in ("cosine", "kl", "top1", "accuracy"):
        assert drop(metric, a, broken, np.zeros(40, int)) == np.inf


def test_whole_numbers_have_no_bound():
    whole = [[np.zeros((2, 3), np.int64)]]
    with pytest.raises(InvalidArgument, match="'cosine' needs an output of floats"):
        drop("cosine", whole, whole, None)


def test_other_shapes_need_a_function():
    """As of a detector, whose boxes are as many as it finds."""
    one, other = [[np.zeros((2, 3))]], [[np.zeros((1, 3))]]
    with pytest.raises(InvalidArgument, match=r"\(1, 3\) quantized, \(2, 3\) in float"):
        drop("cosine", one, other, None)
    assert drop(lambda outputs, labels: len(outputs) / 2, one, other, None) == 50


def test_labels_follow_their_feeds():
    feeds = [{"x": np.full((count, 2), i)} for i, count in enumerate((3, 2, 4, 1))]
    kept, held = split(feeds, np.arange(10), 2)
    assert [int(feed["x"][0, 0]) for feed in kept] == [0, 2]
    assert held.labels.tolist() == [3, 4, 9] and held.samples == 3
    _, held = split(feeds, ["a", "b", "c", "d"], 2)
    assert held.labels.tolist() == ["b", "d"]
    assert held_back(feeds, None).samples == 10
    kept, held = split([{"x": np.arange(5)}], np.arange(5), 2)
    assert held.labels.tolist() == [2, 3, 4] and kept[0]["x"].tolist() == [0, 1]
