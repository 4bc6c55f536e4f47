"""Which unit multiplies a convolution of bytes, by what its tiles cost."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.runtime.ops import tiles
from sardonyx.runtime.ops.windows import Along


def convolution(taps: int, words: int) -> Any:
    """Of square windows and so many words of channels."""
    columns = Along(taps)
    window = SimpleNamespace(columns=columns, taps=taps**2)
    return SimpleNamespace(window=window, channels=words, kind="u8")


@pytest.mark.parametrize(("stores", "shallow"), [(0.0, ()), (3.0, (16,)), (20.0, (16, 32))])
def test_short_sums_are_of_vectors_where_the_unit_stores_slowly(monkeypatch, stores, shallow):
    """It is three times as fast: 20 steps keep sums of less than ten from it, 3 those of one."""
    monkeypatch.setattr(tiles, "EMULATED", False)
    monkeypatch.setattr(tiles, "tile_integer_speed", lambda: 3.0)
    with costs_given(machine_costs()._replace(tile_stores=stores)):
        found = [words for words in (16, 32, 256) if tiles._is_shallow(convolution(1, words))]
    assert found == list(shallow)
