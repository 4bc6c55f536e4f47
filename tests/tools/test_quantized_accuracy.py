"""Scores of quantized models are right, and the table says what is lost."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.tools import quantized_accuracy, zoo
from sardonyx.tools.accuracy_tasks import (
    TASKS,
    _decoded,
    edit_distance,
    rank_correlation,
    sentence_pairs,
)
from sardonyx.tools.perplexity import perplexity


def test_digits_lose_at_most_half_a_point(capsys):
    assert quantized_accuracy.main(["digits", "--threads", "1"]) == 0
    assert "digits" in capsys.readouterr().out


def test_a_loss_beyond_what_is_allowed_is_a_failure(monkeypatch):
    row = quantized_accuracy.Row("x", "top-1", 90.0, 89.0, 1.0, 0.5)
    monkeypatch.setattr(quantized_accuracy, "measured", lambda task, threads: row)
    assert quantized_accuracy.main(["digits"]) == 1


def test_what_cannot_be_had_is_left_out(monkeypatch, capsys):
    def missing() -> None:
        raise zoo.Unavailable("the registry is away")

    monkeypatch.setitem(TASKS, "digits", missing)
    assert quantized_accuracy.main(["digits"]) == 0
    assert "the registry is away" in capsys.readouterr().out


def test_unknown_tasks_are_refused(capsys):
    with pytest.raises(SystemExit):
        quantized_accuracy.main(["nothing"])
    assert "no task 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("one", "other", "distance"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("a", "a", 0)],
)
def test_edit_distances(one, other, distance):
    assert edit_distance(one, other) == edit_distance(other, one) == distance


def test_rank_correlation_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    one, other = rng.integers(0, 6, 50).astype(float), rng.standard_normal(50)
    expected = stats.spearmanr(one, other).statistic
    assert rank_correlation(one, other) == pytest.approx(expected)


def test_letters_repeat_only_with_a_blank_between():
    scores = np.eye(4)[[1, 1, 0, 1, 2, 0, 0, 3]]
    assert _decoded(scores, ["", "a", "b", "c"]) == "aabc"


def test_each_pair_of_sentences_has_a_grade():
    pairs = sentence_pairs()
    assert len(pairs) == 120 and {grade for grade, *_ in pairs} == {0, 1, 2, 3, 4, 5}
    assert all(one and other and one != other for _, one, other in pairs)


def test_perplexity_of_equal_logits_is_the_number_of_words():
    class Session:
        def get_inputs(self):
            return [type("Input", (), {"name": "tokens"})]

        def run(self, names, feeds):
            return [np.zeros((*feeds["tokens"].shape, 50), np.float32)]

    found = perplexity(Session(), np.arange(43), window=8)
    assert found == pytest.approx(50)
