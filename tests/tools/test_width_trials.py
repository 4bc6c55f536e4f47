"""Widths of vectors: what their trial computes, when it decides, and what is measured after it."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels.target import HALVED, has_feature, width_question
from sardonyx.tools import machine, width_trials
from sardonyx.tools.width_trials import DEPTH, ROWS, VECTORS, Widths

both_widths = pytest.mark.skipif(
    not all(map(has_feature, ("avx512f", *HALVED))), reason="there is one width of vectors"
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(width_trials, "has_amx", lambda: False)
    monkeypatch.setattr(width_trials, "has_feature", lambda name: True)


@both_widths
@pytest.mark.parametrize("bits", [256, 512])
def test_the_trial_multiplies_matrices(bits):
    rng, lanes = np.random.default_rng(0), bits // 32
    a = rng.integers(-3, 4, (ROWS, DEPTH)).astype("f4")
    b = rng.integers(-3, 4, (DEPTH, VECTORS * lanes)).astype("f4")
    y = np.zeros((ROWS, VECTORS * lanes), "f4")
    x = np.concatenate([a.ravel(), b.ravel()])
    assert width_trials.products(bits)(x=x, y=y, rounds=2) == 0
    np.testing.assert_array_equal(y, 2 * a @ b)


@pytest.mark.parametrize(
    ("rates", "bits"),
    [
        ({(256, 1): 50, (512, 1): 60, (256, 2): 100, (512, 2): 120}, 512),
        ({(256, 1): 60, (512, 1): 60, (256, 2): 120, (512, 2): 118}, 512),
        ({(256, 1): 60, (512, 1): 55, (256, 2): 120, (512, 2): 100}, 256),
    ],
)
def test_the_faster_width_is_kept(cache, monkeypatch, rates, bits):
    monkeypatch.setattr(width_trials, "available_processors", lambda: 2)
    monkeypatch.setattr(width_trials, "_rate", lambda *asked: rates[asked])
    found = width_trials.widths()
    assert found.bits == bits
    assert found.every == pytest.approx(rates[256, 2] / rates[512, 2], abs=1e-3)
    monkeypatch.setattr(width_trials, "_rate", lambda *_: pytest.fail("measured again"))
    kept = width_trials.widths()
    assert kept.bits == bits and kept.every == pytest.approx(found.every, abs=1e-3)


def test_what_other_work_disturbs_is_not_kept(cache, monkeypatch):
    speeds = iter([100.0, 50.0, 55.0, 100.0] * 1000)
    monkeypatch.setattr(width_trials, "_rate", lambda *_: next(speeds))
    assert width_trials.widths() is None
    question = width_question(f"{width_trials.target().cpu} {width_trials.target().features}")
    assert width_trials.recalled(question) is None


def test_there_is_no_choice_without_the_instructions_or_with_amx(cache, monkeypatch):
    monkeypatch.setattr(width_trials, "_rate", lambda *_: pytest.fail("measured"))
    monkeypatch.setattr(width_trials, "has_feature", lambda name: name != "avx512vl")
    assert width_trials.widths() is None
    monkeypatch.setattr(width_trials, "has_feature", lambda name: True)
    monkeypatch.setattr(width_trials, "has_amx", lambda: True)
    assert width_trials.widths() is None


def test_all_else_is_measured_with_kernels_of_the_faster_width(monkeypatch, capfd):
    """In another process, which is told the width: it neither measures it nor asks again."""
    other = 256 if machine.target().lanes == 16 else 512
    asked = []
    monkeypatch.delenv(machine.VECTOR_BITS, raising=False)
    monkeypatch.setattr(machine, "widths", lambda fresh: Widths(other, 1.2, 1.3))
    monkeypatch.setattr(
        machine.subprocess, "run", lambda *args, **named: asked.append((args, named))
    )
    monkeypatch.setattr(machine, "roofline", lambda *_: pytest.fail("measured in this process"))
    machine.print_machine([1, 2], None, True)
    (((command,), named),) = asked
    assert command[-4:] == ["machine", "--threads=1", "--threads=2", "--fresh"]
    assert named["env"][machine.VECTOR_BITS] == str(other) and named["check"]
