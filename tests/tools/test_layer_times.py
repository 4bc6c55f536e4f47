"""Least times of steps are taken when they fall no more, and steps count for layers."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sardonyx.tools import layer_times


class Busy:
    """A session whose steps are slowed by other processes, less from turn to turn."""

    def __init__(self, turns: int) -> None:
        self.turns, self.busy, self.profiles = turns, turns, 0

    def profile(self, feed: Any, runs: int, warmup: int) -> Any:
        self.profiles += 1
        slow = 1.0 + 0.1 * max(self.busy - self.profiles, 0)
        steps = [
            SimpleNamespace(nodes=(name,), times_ns=np.array([9.0 * ns, ns * slow]))
            for name, ns in (("a", 100.0), ("copy", 10.0), ("b.fused", 50.0))
        ]
        return SimpleNamespace(steps=steps)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock on which each look takes 0.15 s."""
    ticks = iter(range(10**6))
    found = SimpleNamespace(perf_counter=lambda: 0.15 * next(ticks))
    monkeypatch.setattr(layer_times, "time", found)
    return found


def layers() -> dict[str, Any]:
    none = SimpleNamespace(outputs=[SimpleNamespace(consumers=list)])
    return {"a": none, "b": none}


@pytest.mark.parametrize("turns", [1, 7, 20])
def test_sessions_run_until_their_times_fall_no_more(turns: int) -> None:
    session = Busy(turns)
    found = layer_times.layer_times(session, {}, layers())  # type: ignore[arg-type]
    assert found == {"a": 110.0, "b": 50.0}
    assert session.profiles == max(turns + 3, 6)


def test_sessions_take_turns_together() -> None:
    quiet, busy = Busy(1), Busy(9)
    assert layer_times.run_times([quiet, busy], {}) == [160.0, 160.0]  # type: ignore[list-item]
    assert quiet.profiles == busy.profiles == 12


def test_a_machine_that_never_becomes_quiet_is_not_waited_for() -> None:
    session = Busy(10**5)
    layer_times.run_times([session], {})  # type: ignore[list-item]
    assert session.profiles <= 40
