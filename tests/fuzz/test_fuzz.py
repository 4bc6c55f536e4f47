"""Random nodes and graphs in guard mode: no signal, no difference, no exception but ours.

``FUZZ_CASES=20000 pytest tests/fuzz`` looks longer, ``FUZZ_FIRST`` says where to begin;
``python -m tests.fuzz`` does so with several processes, and says what it counted.
"""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest

from .cases import CASES, without_cache
from .runner import FAULTS, Runner

FIRST = int(os.environ.get("FUZZ_FIRST", "0"))
COUNT = int(os.environ.get("FUZZ_CASES", "200"))


@pytest.mark.timeout(120 + COUNT)
@pytest.mark.parametrize("kind", sorted(CASES))
def test_nothing_goes_wrong(kind, monkeypatch):
    without_cache(monkeypatch.setattr)
    runner = Runner(CASES[kind], FIRST, COUNT)
    runner.run()
    assert not runner.faults, "\n".join(runner.faults)
    assert sum(runner.counts.values()) == COUNT
    assert runner.counts["ran"] > COUNT // 10
    assert not any(runner.counts[outcome] for outcome in FAULTS)


def test_a_signal_a_hang_and_an_exception_are_counted_by_case(monkeypatch):
    def case(number: int) -> str:
        if number == 3:
            os.kill(os.getpid(), signal.SIGUSR1)
        if number == 5:
            raise ValueError("no")
        while number == 8:
            pass
        return "ran"

    monkeypatch.setattr("tests.fuzz.runner.HANG_SECONDS", 0.5)
    runner = Runner(case, 0, 12, processes=2)
    runner.run()
    assert +runner.counts == Counter(ran=9, signals=1, exceptions=1, hangs=1)
    assert sorted(runner.faults) == [
        "case 3: SIGUSR1", "case 5: ValueError: no", "case 8: no end",
    ]  # fmt: skip


def test_a_journal_resumes_where_it_was_stopped(tmp_path):
    journal = tmp_path / "journal"
    first = Runner(lambda number: "ran", 0, 6, processes=2, journal=journal)
    first.run()
    again = Runner(lambda number: "refused", 0, 10, processes=2, journal=journal)
    again.run()
    assert +again.counts == Counter(ran=6, refused=4)
