"""Values of recurrent cells beyond the common: huge ones, infinities and NaN, saturated gates."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx

from ...kernels.test_vmath import ulps
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


def numbers() -> np.ndarray:
    """Every 60013th float32, and many near zero and near the ends of the exponential."""
    bits = np.arange(0, 1 << 32, 60013, dtype=np.uint64).astype(np.uint32).view(F32)
    ranges = [np.linspace(a, b, 8192, dtype=F32) for a, b in ((-12, 12), (-87.3, -80), (-1, 1))]
    return np.concatenate([bits[np.isfinite(bits)], *ranges])


@pytest.mark.parametrize("precision", ["strict", "fp32"])
@pytest.mark.parametrize("name", ["Sigmoid", "Tanh", "ScaledTanh"])
def test_errors_of_activations(name, precision):
    """A layer of one unit without states is its activation."""
    x = numbers()
    arrays = {"W": np.ones((1, 1, 1), F32), "R": np.zeros((1, 1, 1), F32)}
    numbers_of = {"activation_alpha": [1.5], "activation_beta": [0.7]} if "Scaled" in name else {}
    model = network("RNN", arrays, (), 1, activations=[name], **numbers_of)
    session = sardonyx.Session(model, precision=precision, threads=1)
    assert not session.engine.program.host_steps
    found = session.run(None, {"X": x.reshape(1, -1, 1)})[0].reshape(-1)
    wide = x.astype(np.float64)
    exact = {
        "Sigmoid": lambda: np.exp(-np.logaddexp(0, -wide)),
        "Tanh": lambda: np.tanh(wide),
        "ScaledTanh": lambda: float(F32(1.5)) * np.tanh(float(F32(0.7)) * wide),
    }[name]()
    # Denormals are zeros, unless precision is strict, also where they are a product on the way.
    tiny = np.abs(exact) < np.finfo(F32).tiny * (1 if precision == "strict" else 2)
    assert (np.abs(found[tiny]) <= 3e-38).all()
    units = ulps(found[~tiny], exact[~tiny])
    if precision == "strict":
        assert units.max() <= 6
    elif name == "Sigmoid":
        assert np.abs(found - exact).max() <= 1.5e-7
    else:
        assert units.max() <= 8
