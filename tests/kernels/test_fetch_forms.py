"""Requests for a stream of weights: chosen by measurement, once on a machine, without effect."""

import numpy as np
import pytest
from sardonyx.kernels.cost_tables import FAMILIES
from sardonyx.kernels.cpu import fetch_forms
from sardonyx.kernels.cpu.packed_weights import PANEL, round_to_bfloat16


def test_the_lines_of_a_request_are_tried_once(monkeypatch, tmp_path):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    tried = []
    monkeypatch.setattr(fetch_forms, "family_of", lambda _: FAMILIES[-1])
    monkeypatch.setattr(fetch_forms, "_try_lines", lambda: tried.append(1) or 1)
    for _ in range(2):
        fetch_forms.lines_of_request.cache_clear()
        assert fetch_forms.lines_of_request() == 4
    fetch_forms.lines_of_request.cache_clear()
    assert tried == [1]


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.lines])
def test_what_is_known_of_a_family_is_not_tried(monkeypatch, family):
    monkeypatch.setattr(fetch_forms, "family_of", lambda _: family)
    monkeypatch.setattr(fetch_forms, "_try_lines", lambda: pytest.fail("tried"))
    fetch_forms.lines_of_request.cache_clear()
    assert fetch_forms.lines_of_request() == family.lines
    fetch_forms.lines_of_request.cache_clear()


def test_a_trial_reads_what_it_says(monkeypatch):
    """A small one, of which either form may win."""
    monkeypatch.setattr(fetch_forms, "_STREAM_BYTES", 1 << 16)
    assert fetch_forms._try_lines() in (0, 1)


@pytest.mark.parametrize("every", [1, 4])
def test_requests_do_not_change_sums(rng, every):
    x = rng.standard_normal(37).astype(np.float32)
    weights = rng.standard_normal((37, PANEL)).astype(np.float32)
    bits = round_to_bfloat16(weights)
    sums = np.zeros(PANEL, np.float32)
    assert fetch_forms.stream(every)(x=x, w=bits, c=sums, units=37, distance=4096) == 0
    wanted = x.astype(np.float64) @ (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    np.testing.assert_allclose(sums, wanted, rtol=1e-5, atol=1e-5)
