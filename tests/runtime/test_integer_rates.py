"""Convolutions of bytes take integers where these are as fast as floats would be."""

from __future__ import annotations

import pytest
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.runtime import integer_rates
from sardonyx.runtime.integer_rates import integers_pay


def pays(kernel: int, channels: int, size: object, stride: int = 1, dilation: int = 1) -> bool:
    filters, result = (channels, channels, kernel, kernel), (1, channels, size, size)
    return integers_pay(filters, result, 1, [stride] * 2, [dilation] * 2)


@pytest.mark.parametrize("size", [56, None], ids=["known", "open"])
@pytest.mark.parametrize("by_amx", [False, True])
def test_windows_of_winograd_take_integers_of_fast_units_only(size, by_amx, monkeypatch):
    """Vectors have Winograd's form of bytes, too."""
    monkeypatch.setattr(integer_rates, "has_amx", lambda: by_amx)
    for rate, wanted in ((0.5, False), (2.5, not by_amx), (4.0, True)):
        monkeypatch.setattr(integer_rates, "integer_speed", lambda rate=rate: rate)
        assert pays(3, 128, size) is wanted


def test_other_windows_take_integers_unless_these_are_slower(monkeypatch):
    for rate, wanted in ((0.5, False), (1.0, True)):
        monkeypatch.setattr(integer_rates, "integer_speed", lambda rate=rate: rate)
        assert pays(1, 64, 56) is wanted
        assert pays(3, 64, 56, dilation=2) is wanted
        assert pays(7, 64, 112, stride=2) is wanted
        assert integers_pay((8, 8, 3), (1, 8, 50), 1, [1], [1]) is wanted
        assert integers_pay((8, 8, 3, 3, 3), (1, 8, 9, 9, 9), 1, [1] * 3, [1] * 3) is wanted


@pytest.mark.parametrize(("cost", "wanted"), [(0.0, False), (1.0, True)])
def test_passes_over_floats_are_asked_of_the_cost_model(cost, wanted, monkeypatch):
    """Integers that are multiplied a little more slowly go without two passes."""
    monkeypatch.setattr(integer_rates, "integer_speed", lambda: 0.9)
    costs = machine_costs()
    streams = costs.streams._replace(near=cost, far=cost, memory=cost)
    with costs_given(costs._replace(streams=streams)):
        assert pays(1, 64, 56) is wanted
