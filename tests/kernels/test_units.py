"""Arithmetic units: what their instructions compute, and the table of their rates."""

from __future__ import annotations

import numpy as np
import pytest
from sardonyx.kernels import arithmetic, folders, unit_rates
from sardonyx.kernels.amx_permission import EMULATED, has_amx
from sardonyx.kernels.cpu import units

PERMITTED = [name for name, unit in units.UNITS.items() if unit.is_permitted]
TILES = list(units.TILE_UNITS) if has_amx() and not EMULATED else []


def factors(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Two vectors of 64 bytes: ones, and twos, of what a unit multiplies."""
    if name == "bfloat16":
        return tuple(np.full(16, v, "f4").view("u4") >> 16 for v in (1, 2))  # every other one
    dtype = {"int8": "i1", "int16": "i2", "float16": "f2"}.get(name.split(" ")[0], "f4")
    return tuple(np.full(64 // np.dtype(dtype).itemsize, v, dtype) for v in (1, 2))


@pytest.mark.parametrize("name", PERMITTED)
def test_a_unit_does_the_operations_that_are_counted(name):
    x = np.concatenate([part.view(np.uint8) for part in factors(name)])
    y = np.zeros(64 * units._CHAINS, np.uint8)
    assert units.busy(name)(x=x, y=y, rounds=3) == 0
    unit = units.UNITS[name]
    sums = y.view({"float16": "f2", "float32": "f4", "bfloat16": "f4"}.get(name, "i4"))
    products = unit.operations // 2 // (2 if name == "bfloat16" else 1)
    assert sums.sum(dtype=np.float64) == 3 * units._CHAINS * products * 2


def test_rates_are_plausible_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(units, "_ROUNDS", 1000)
    monkeypatch.setattr(unit_rates, "_SPREAD", float("inf"))
    found = unit_rates.rates.__wrapped__()
    assert list(found) == [*PERMITTED, *TILES]
    assert all(0.5 < rate < 20000 for rate in found.values())
    monkeypatch.setattr(units, "measure", lambda: pytest.fail("measured again"))
    assert unit_rates.rates.__wrapped__() == found
    monkeypatch.setattr(units, "measure", lambda: ({"float32": 1.0}, 0.0))
    assert unit_rates.rates.__wrapped__(fresh=True) == {"float32": 1.0}


def test_rates_that_other_work_disturbs_are_measured_again_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(folders, "_warned", set())
    moments = [({"float32": 1.0 + i}, 0.9) for i in range(4)] + [({"float32": 9.0}, 0.01)]
    remaining = iter(moments)
    monkeypatch.setattr(units, "measure", lambda: next(remaining))
    with pytest.warns(RuntimeWarning, match="differ by 90%.*not kept"):
        assert unit_rates.rates.__wrapped__() == {"float32": 3.0}
    assert unit_rates.rates.__wrapped__() == {"float32": 9.0}  # at a quieter moment
    assert unit_rates.rates.__wrapped__() == {"float32": 9.0}


def test_what_the_processor_lacks_is_not_measured(monkeypatch):
    monkeypatch.setattr(units, "has_feature", lambda name: False)
    found = [name for name, unit in units.UNITS.items() if unit.is_permitted]
    assert found == ["float32", "int16 in two steps"]


def test_the_rate_of_integers_is_that_of_what_tiles_take(monkeypatch):
    rates = {
        "float32": 100.0,
        "int16 in two steps": 150.0,
        "int8": 400.0,
        "int8 of AVX-VNNI": 300.0,
    }
    monkeypatch.setattr(unit_rates, "rates", lambda: rates)
    monkeypatch.setattr(unit_rates, "EMULATED", False)
    monkeypatch.setattr(arithmetic, "HAS_QUADS", False)
    assert unit_rates.integer_speed() == 1.5
    monkeypatch.setattr(arithmetic, "HAS_QUADS", True)
    for has_masks, rate in ((True, 4.0), (False, 3.0)):
        monkeypatch.setattr(unit_rates, "HAS_MASKS", has_masks)
        assert unit_rates.integer_speed() == rate
    rates["AMX int8"] = 2000.0
    assert unit_rates.integer_speed() == 20.0
    assert unit_rates.tile_integer_speed() == 2000.0 / 300.0
    assert unit_rates.words_pay()
    rates |= {"AMX int8": 0.0, "int16": 350.0}
    assert not unit_rates.words_pay()
