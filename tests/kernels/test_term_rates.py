"""Costs of terms are measured, and kept."""

from __future__ import annotations

import pytest
from sardonyx.kernels.amx_permission import EMULATED, has_amx
from sardonyx.kernels.bfloat_terms import PRODUCTS
from sardonyx.kernels.cpu import attention_forms, term_rates

pytestmark = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")


@pytest.mark.skipif(EMULATED, reason="others measure the unit itself")
def test_costs_are_those_of_a_unit_that_is_faster_than_vectors() -> None:
    found = term_rates._measure()
    assert len(found) == len(PRODUCTS)
    for costs in found:
        assert 0 < costs.product < 2
        assert 0 < costs.split < 1000
        assert 0 < costs.fetch < 100
        assert 0 <= costs.result < 100


def test_costs_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = term_rates.term_costs(3)
    monkeypatch.setattr(term_rates, "_measure", lambda: pytest.fail("measured again"))
    term_rates.term_costs.cache_clear()
    assert term_rates.term_costs(3) == known


def test_products_of_an_emulated_unit_are_always_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(term_rates, "EMULATED", True)
    term_rates.term_costs.cache_clear()
    assert term_rates.term_costs(3).product * PRODUCTS[3] < 1
    term_rates.term_costs.cache_clear()


def test_attention_by_amx_is_tried_for_rising_numbers_of_queries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first number for which it is faster is the answer; there may be none."""
    tried: list[int] = []
    monkeypatch.setattr(attention_forms, "_by_vectors", lambda job: tried.append(job["queries"]))
    monkeypatch.setattr(attention_forms, "_by_terms", lambda *args: None)
    monkeypatch.setattr(attention_forms, "fastest", lambda forms, turns: len(tried) == 3)
    assert attention_forms._try_queries(3, 2, 64, 64) == tried[2]
    assert tried == sorted(tried)
    monkeypatch.setattr(attention_forms, "fastest", lambda forms, turns: 0)
    assert attention_forms._try_queries(3, 2, 64, 64) == attention_forms.NEVER
