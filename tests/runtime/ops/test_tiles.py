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


@pytest.mark.parametrize(("speed", "few"), [(2.0, 8), (4.0, 4), (10.0, 1)])
def test_few_rows_are_of_vectors_by_what_a_whole_tile_takes(monkeypatch, speed, few):
    """A tile of 16 rows takes as long for fewer: so much slower vectors do as many meanwhile."""
    monkeypatch.setattr(tiles, "tile_integer_speed", lambda: speed)
    monkeypatch.setattr(tiles, "has_amx", lambda: True)
    monkeypatch.setattr(tiles, "_have_vectors", lambda kind: True)
    monkeypatch.setattr(tiles, "_is_shallow", lambda conv: False)
    by_vectors = [
        rows
        for rows in range(1, 17)
        if tiles.amx_sizes(SimpleNamespace(row_pixels=rows, out_channels=64, kind="u8")) is None
    ]
    assert by_vectors == list(range(1, few + 1))
