"""Trials of AMX's tiles of bytes: what it takes to store their sums, in steps of the unit.

A sum of n steps takes ``stores + n`` of them. Convolutions of one pixel, whose sums are of some
lengths, tell the two apart.
"""

from __future__ import annotations

import numpy as np

from ..kernels.amx import ROW_WORDS
from ..kernels.amx_permission import has_amx
from ..kernels.machine_costs import costs_given, machine_costs
from .cost_trials import LayerTrial, TrialLayer, tried
from .least_squares import nonnegative_least_squares

_STEPS = 1, 2, 4, 8
_FILTERS, _SIZE = 96, 28
_MOST = 64.0
"""More would keep all sums that are convolutions' from the unit."""


def tile_stores() -> float | None:
    """Measure the stores of a tile of bytes, in its steps; None where there is no such unit."""
    if not has_amx():
        return None
    layers = [TrialLayer(1, 4 * ROW_WORDS * n, _FILTERS, _SIZE, "u8") for n in _STEPS]
    with costs_given(machine_costs()._replace(tile_stores=0.0)):  # by the unit, however short
        return stores_of(tried(layers))


def stores_of(trials: list[LayerTrial]) -> float:
    """Return how many steps the stores of trials of known lengths take."""
    costs = np.array([min(trial.costs) for trial in trials])
    terms = np.array([(1.0, trial.layer.words / ROW_WORDS) for trial in trials])
    stores, step = nonnegative_least_squares(terms / costs[:, None], np.ones(len(costs)))
    return _MOST if stores >= _MOST * step else round(float(stores / step), 2)
