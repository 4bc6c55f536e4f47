"""Forms of recurrent products: chosen by measurement, once on a machine."""

import numpy as np
import pytest
from sardonyx.kernels import trials
from sardonyx.kernels.cpu import recurrent_forms
from sardonyx.kernels.cpu.recurrent_forms import products_of_steps
from sardonyx.kernels.target import LANES, target

WITHIN, BEYOND = target().l2 // 4, target().l2 + 1


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """Names of the trials that are made, in an empty cache."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    made = []
    monkeypatch.setattr(
        recurrent_forms, "_try_fetching", lambda place: made.append(place) or int(place == "beyond")
    )
    monkeypatch.setattr(recurrent_forms, "_try_joining", lambda *sizes: made.append(sizes) or 1)
    monkeypatch.setattr(recurrent_forms, "_try_halves", lambda: made.append("halves") or 1)
    forget()
    yield made
    forget()


def forget():
    recurrent_forms.fetching_pays.cache_clear()
    recurrent_forms._joining_pays.cache_clear()
    recurrent_forms.halves_pay.cache_clear()


def test_a_form_is_tried_once_for_each_cache(asked):
    for _ in range(2):
        assert not recurrent_forms.fetching_pays(WITHIN)
        assert not recurrent_forms.fetching_pays(WITHIN + 4)
        assert recurrent_forms.fetching_pays(BEYOND)
        assert recurrent_forms.joining_pays(20, None)
        assert recurrent_forms.joining_pays(9, 10)
        assert not recurrent_forms.joining_pays(1, 100)
        assert not recurrent_forms.joining_pays(16, 1)
        assert recurrent_forms.halves_pay(WITHIN)
        assert recurrent_forms.halves_pay(BEYOND)
        assert not recurrent_forms.halves_pay(target().l1)
        forget()
    assert asked == ["within", "beyond", (16, 64), (8, 8), "halves"]


@pytest.mark.parametrize("fetches", [0, 1])
def test_trials_multiply_what_a_step_multiplies(rng, fetches):
    """Weights come in panels; the last step's sums are those with its own inputs."""
    rows, depth, panels, steps = 5, 37, 3, 2
    width = 4 * LANES
    a = rng.standard_normal((rows, depth)).astype(np.float32)
    weights = rng.standard_normal((panels, depth, width)).astype(np.float32)
    inputs = rng.standard_normal((steps, rows, panels, width)).astype(np.float32)
    sums = np.zeros((rows, panels, width), np.float32)
    trial = recurrent_forms.Products()
    sizes = {"rows": rows, "depth": depth, "panels": panels, "steps": steps, "mr": trial.mr}
    arrays = {"a": a, "weights": weights, "sums": sums, "inputs": inputs, "tiles": trial.tiles}
    assert products_of_steps(**sizes, **arrays, fetches=fetches) == 0
    expected = np.einsum("rd,pdw->rpw", a, weights) + inputs[-1]
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("weights", [np.float32, np.float16])
def test_trials_multiply_one_row_by_weights_of_either_size(rng, weights):
    depth, panels = 37, 5
    a = rng.standard_normal(depth).astype(np.float32)
    b = rng.standard_normal((panels, depth, 4 * LANES)).astype(weights)
    sums = np.zeros((panels, 4 * LANES), np.float32)
    product = recurrent_forms.row_of_steps("f16" if weights is np.float16 else "f32")
    assert product(a=a, weights=b, sums=sums, panels=panels, depth=depth, steps=2) == 0
    expected = np.einsum("d,pdw->pw", a, b.astype(np.float32))
    np.testing.assert_allclose(sums, expected, rtol=1e-4, atol=1e-4)


def test_the_fastest_of_some_forms_is_found():
    forms = [lambda n=n: sum(range(n)) for n in (100_000, 10, 50_000)]
    assert trials.fastest(forms, 20) == 1
