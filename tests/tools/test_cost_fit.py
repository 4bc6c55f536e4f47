"""Measurement of the cost model: the fit, trials that are disturbed, and the command."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest
from sardonyx.kernels import machine_costs
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.cost_tables import FAMILIES
from sardonyx.kernels.target import target
from sardonyx.runtime.choices import Form
from sardonyx.tools import (
    cost_fit,
    cost_trials,
    latency_trial,
    sharing_trials,
    tile_unit_trials,
    vector_trials,
)
from sardonyx.tools.cost_fit import Disturbed, Measured
from sardonyx.tools.cost_trials import LayerTrial, TrialLayer
from sardonyx.tools.least_squares import nonnegative_least_squares
from sardonyx.tools.roofline import SIZES, Roofline
from sardonyx.tools.sharing_trials import Sharing

LAYERS = [TrialLayer(3, channels, filters, size) for channels in (16, 64, 128)
          for filters in (32, 96) for size in (7, 14, 28)]  # fmt: skip


@pytest.mark.parametrize("seed", range(20))
def test_no_other_coefficients_fit_better(seed):
    """Conditions of Karush, Kuhn and Tucker: no step that is allowed makes the error smaller."""
    rng = np.random.default_rng(seed)
    terms = rng.standard_normal((30, 6)) + rng.integers(0, 2)
    values = terms @ rng.standard_normal(6) + 0.1 * rng.standard_normal(30)
    found = nonnegative_least_squares(terms, values)
    gradient = terms.T @ (values - terms @ found)
    assert (found >= 0).all()
    np.testing.assert_allclose(gradient[found > 0], 0, atol=1e-8)
    assert (gradient[found == 0] <= 1e-8).all()


def test_coefficients_that_made_the_values_are_found():
    terms = np.random.default_rng(0).random((40, 5))
    expected = np.array([1.0, 0.0, 2.5, 0.0, 0.1])
    np.testing.assert_allclose(
        nonnegative_least_squares(terms, terms @ expected), expected, atol=1e-9
    )


def trials(noise: float = 0.0) -> list[LayerTrial]:
    """Times that a cost model tells, of bursts that differ by some noise."""
    model = FAMILIES[0].costs.tile
    made = []
    for layer in LAYERS:
        for form in layer.forms():
            if form.algorithm == "direct":
                cost = model.of(layer.tile_terms(form, model.chain))
                made.append(LayerTrial(layer, form, (cost, cost * (1 + noise))))
    return made


def test_the_fit_finds_the_model_that_made_the_times():
    chain = FAMILIES[0].costs.tile.chain
    _, fit = cost_fit._fitted("tiles", trials(), functools.partial(cost_fit._tile_terms, chain))
    assert fit.trials == len(trials())
    assert fit.worst < 1e-3


def test_a_disturbed_measurement_is_repeated_then_refused():
    attempts = iter([trials(0.5), trials(0.5), trials(0.02)])
    assert cost_fit._steady(lambda: next(attempts)) == trials(0.02)
    with pytest.raises(Disturbed, match="differ by 50%"):
        cost_fit._steady(lambda: trials(0.5))


@pytest.fixture
def of_this_machine(monkeypatch, tmp_path):
    """What a measurement gave, and an empty cache."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    machine_costs._machine_costs.cache_clear()
    found = Measured(
        FAMILIES[0].costs._replace(step=3.0),
        [cost_fit.Fit("tiles of float32", 10, 0.01, 0.1)],
        {"register": {"1 x 1 x 16": 2.0, "14 x 1 x 16": 1.25}},
        {"copy": 1.5},
        Sharing(200.0, 9000.0),
    )
    monkeypatch.setattr(cost_fit, "_measure", lambda progress: found)
    yield found
    machine_costs._machine_costs.cache_clear()


def test_what_is_measured_is_kept_and_used(of_this_machine, monkeypatch):
    assert cost_fit.measured() == of_this_machine
    assert machine_costs.machine_costs() == of_this_machine.costs
    monkeypatch.setattr(cost_fit, "_measure", lambda progress: pytest.fail("measured again"))
    assert cost_fit.measured() == of_this_machine
    with pytest.raises(pytest.fail.Exception):
        cost_fit.measured(fresh=True)


def test_what_is_kept_is_measured_again_where_the_costs_are_gone(of_this_machine, monkeypatch):
    cost_fit.measured()
    machine_costs.discard()
    other = of_this_machine._replace(sharing=None)
    monkeypatch.setattr(cost_fit, "_measure", lambda progress: other)
    assert cost_fit.measured() == other


def test_sharing_pays_where_a_half_is_longer_than_the_exchange():
    assert Sharing(700.0, 0.0).alone_ns == 1400
    assert Sharing(0.0, 0.0).alone_ns < Sharing(1e9, 0.0).alone_ns == 16_000


def test_accesses_of_vectors_move_what_they_are_said_to():
    count = vector_trials.VECTORS * vector_trials.LANES
    x = np.arange(count, dtype=np.float32)
    y, order = np.zeros(count, np.float32), np.random.default_rng(0).permutation(count)
    sizes = {"n": vector_trials.VECTORS, "rounds": 2}
    assert vector_trials.gather(x=x, i=order.astype(np.int32), y=y, **sizes) == 0
    np.testing.assert_array_equal(y, x[order])
    assert vector_trials.moves("f32", "f32", True)(x=x, y=y[:count], lanes=3, **sizes) == 0
    rows = y.reshape(-1, vector_trials.LANES)
    np.testing.assert_array_equal(rows[:, :3], x.reshape(rows.shape)[:, :3])


def test_the_trial_layers_have_their_forms():
    """Those of three by three also Winograd's, which their own terms tell."""
    layer = TrialLayer(3, 64, 64, 28)
    assert Form("winograd", (4, 4)) in layer.forms()
    direct, *products = layer.winograd_terms(Form("winograd", (4, 4)))
    assert direct == 0 and all(term > 0 for term in products)
    assert all(form.algorithm == "direct" for form in TrialLayer(1, 64, 64, 28).forms())


def test_a_measurement_is_a_line(of_this_machine):
    line = of_this_machine.to_text()
    assert "\n" not in line and json.loads(line)
    assert Measured.from_text(line) == of_this_machine


def test_streams_are_those_of_each_level():
    """With 16 multiply-adds in a nanosecond a byte at 4 of them in one costs 4."""
    gbps = (*(8.0 if size <= target().l2 else 4.0 for size in SIZES[:-1]), 2.0)
    found = cost_fit._streams(Roofline("test", 1, 512.0, gbps), 16.0, 100.0)
    assert found == (2.0, 4.0, 8.0, 1600.0, 8.0)


def test_a_line_of_memory_takes_longer_than_one_of_a_cache(monkeypatch):
    away = latency_trial.latency_ns()
    monkeypatch.setattr(latency_trial, "_BYTES", 1 << 14)
    assert 0.3 < latency_trial.latency_ns() < away < 1e4


def test_a_step_takes_some_time():
    assert 1.0 < sharing_trials.step_ns() < 1e5


def test_stores_of_a_tile_are_told_from_its_steps():
    """Sums of one to eight steps of 5 take 15 more."""
    layers = [TrialLayer(1, 64 * n, 96, 28, "u8") for n in (1, 2, 4, 8)]
    form = Form("direct", (16, 2))
    made = [LayerTrial(each, form, (15.0 + 5.0 * each.words / 16,)) for each in layers]
    assert tile_unit_trials.stores_of(made) == 3.0
    still = [LayerTrial(each, form, (15.0,)) for each in layers]
    assert tile_unit_trials.stores_of(still) == 64.0


@pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")
def test_the_unit_multiplies_layers_that_try_it():
    found = tile_unit_trials.tile_stores()
    assert found is not None and 0 <= found <= 64


@pytest.mark.skipif(has_amx(), reason="there is AMX")
def test_without_the_unit_there_is_nothing_to_try():
    assert tile_unit_trials.tile_stores() is None


def test_weights_from_the_second_cache_cost_no_less():
    assert 0.0 <= cost_trials.reload_cost() < 100.0
