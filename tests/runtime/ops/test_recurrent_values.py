"""Values of recurrent cells beyond the common: huge ones, infinities and NaN, saturated gates."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx

from .test_recurrent import CELLS, F32, agree, network, weights

PAYLOAD = np.array([0x7FC00001, 0xFFFFFFFF], np.uint32).view(F32)
"""NaN whose last bits are not zero, which arithmetic of whole numbers would turn into others."""


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch", [1, 18])
def test_huge_values_and_nan(cell, batch, rng):
    arrays = weights(rng, cell, 1, 5, 20)
    x = rng.standard_normal((3, batch, 5)).astype(F32)
    for value in (1e30, -1e30, np.inf, np.nan, *PAYLOAD):
        x[1, batch // 2] = value
        model = network(cell, arrays)
        with np.errstate(all="ignore"):
            agree(model, {"X": x}, sardonyx.Session(model, threads=1))


@pytest.mark.parametrize("cell", CELLS)
def test_saturated_gates_over_many_steps(cell, rng):
    """Gates of large sums stay within [-1, 1], and so do states."""
    arrays = weights(rng, cell, 1, 5, 20)
    arrays["W"] *= 200
    x = np.ones((300, 18, 5), F32)
    model = network(cell, arrays)
    session = sardonyx.Session(model, threads=1)
    agree(model, {"X": x}, session)
    assert np.abs(session.run(None, {"X": x})[0]).max() <= 1
