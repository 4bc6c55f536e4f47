"""Fit of the cost model of this machine to trials of kernels (``kernels.costs``, `cost_trials`)."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import SardonyxError
from ..kernels.costs import Costs, StreamCosts, TileCosts, WinogradCosts
from ..kernels.cpu.tile import OPERANDS
from ..kernels.machine_costs import (
    costs_given,
    keep,
    machine_costs,
    measured_costs,
    processor_text,
)
from ..kernels.storage import recalled, replaced
from ..kernels.target import EMBEDDED_BROADCAST, target
from ..kernels.unit_rates import pair_speed, vector_integer_speed
from .cost_trials import (
    LayerTrial,
    layer_trials,
    reload_cost,
    streamed_weight_cost,
    tile_costs,
    unit_rate,
    vector_costs,
    widened_cost,
)
from .latency_trial import latency_ns
from .least_squares import nonnegative_least_squares
from .pass_trials import pass_costs
from .roofline import SIZES, Roofline, roofline
from .sharing_trials import Sharing, sharing_trial, step_ns
from .tile_unit_trials import tile_stores

_CHAINS = (2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 12.0)
"""Sums that may hide the latency of a multiply-add: 4 cycles of one or two units, or 5."""
_VERSION = 8
"""Of what is measured: what other versions have kept is not read."""
_SPREAD = 0.1
"""What times of the same trial, in different bursts, may differ by at a median."""
_ATTEMPTS = 3


class Disturbed(SardonyxError):
    """Other work on the machine disturbed a measurement; nothing of it is kept."""


class Fit(NamedTuple):
    """How well a part of a cost model tells the times of its trials.

    Attributes
    ----------
    name
        What is fitted.
    trials
        How many there were.
    error, worst
        Mean and largest difference between a time and what the model says, relative to the time.
    """

    name: str
    trials: int
    error: float
    worst: float


class Measured(NamedTuple):
    """What was measured of this machine, beside its units and bandwidths.

    Attributes
    ----------
    costs
        Its cost model.
    fits
        How well the parts of that fit their trials.
    tiles, vectors
        See `cost_trials.tile_costs`, by the form of the operand, and `cost_trials.vector_costs`.
    sharing
        What threads take to share a step; None of one processor.
    """

    costs: Costs
    fits: list[Fit]
    tiles: dict[str, dict[str, float]]
    vectors: dict[str, float]
    sharing: Sharing | None

    def to_text(self) -> str:
        """Return a line that `from_text` reads."""
        return json.dumps([self.costs.to_text(), *self[1:]])

    @classmethod
    def from_text(cls, line: str) -> Measured:
        """Return what a line states."""
        costs, fits, tiles, vectors, sharing = json.loads(line)
        exchange = None if sharing is None else Sharing(*sharing)
        return cls(Costs.from_text(costs), [Fit(*fit) for fit in fits], tiles, vectors, exchange)


def measured(fresh: bool = False, progress: Callable[[str], None] = lambda _: None) -> Measured:
    """Return what is kept of this machine, or measure it, and let sessions use its costs.

    Parameters
    ----------
    fresh : bool
        Measure again.
    progress : callable
        Is told what is measured.

    Raises
    ------
    Disturbed
        Times of the same trial differ too much, again and again.
    """
    question = f"measured\n{_VERSION} {processor_text()}"
    line = None if fresh or measured_costs() is None else recalled(question)
    if line is not None:
        return Measured.from_text(line)
    found = _measure(progress)
    keep(found.costs)
    replaced(question, found.to_text())
    return found


def _measure(progress: Callable[[str], None]) -> Measured:
    progress("arithmetic units and bandwidth")
    ceilings = roofline(1)
    tiles = {}
    for form in OPERANDS if EMBEDDED_BROADCAST else OPERANDS[:1]:
        progress(f"tiles whose operands are in {form}")
        tiles[form] = tile_costs(form)
    progress("accesses of vectors to memory")
    vectors = vector_costs()
    costs, fits = _fit_layers(progress)
    progress("steps that threads share")
    sharing = sharing_trial()
    if sharing is not None:
        costs = costs._replace(sharing=costs.sharing._replace(alone_ns=sharing.alone_ns))
    progress("tiles of bytes")
    stores = tile_stores()
    if stores is not None:
        costs = costs._replace(tile_stores=stores)
    progress("streams of weights")
    weights = streamed_weight_cost(costs)
    progress("steps that compute nothing")
    per_ns = unit_rate()
    rounded = vectors["store of float32 as bf16"]
    costs = costs._replace(
        streams=_streams(ceilings, per_ns, latency_ns())._replace(weights=weights),
        reload=reload_cost(),
        step=round(step_ns() * per_ns, 1),
    )
    progress("passes over data")
    costs = costs._replace(vectors=pass_costs(costs, widened_cost(), rounded, per_ns))
    return Measured(costs, fits, tiles, vectors, sharing)


def _streams(ceilings: Roofline, per_ns: float, latency: float) -> StreamCosts:
    """Return the cost of a byte, of half a cache, by the multiply-adds in a nanosecond.

    A line of memory takes ``latency`` nanoseconds.
    """
    sizes = target().l2 // 2, target().l3 // 2, SIZES[-1]
    near, far, memory = (round(per_ns / ceilings.bandwidth(size), 4) for size in sizes)
    return StreamCosts(near, far, memory, round(per_ns * latency, 1), memory)


def _fit_layers(progress: Callable[[str], None]) -> tuple[Costs, list[Fit]]:
    """Fit the coefficients of tiles and of Winograd's forms; others are those that stand."""
    progress("forms of convolutions")
    layers = _steady(layer_trials)
    floats = [trial for trial in layers if trial.layer.kind == "f32"]
    direct = [trial for trial in floats if trial.form.algorithm == "direct"]
    chain = min(_CHAINS, key=functools.partial(_tile_error, direct))
    terms = functools.partial(_tile_terms, chain)
    tiles, fit = _fitted("tiles of float32", direct, terms)
    fits, costs = [fit], machine_costs()._replace(tile=TileCosts(*[*tiles, chain]))
    with costs_given(costs):
        found, fit = _fitted("convolutions of float32", _as_chosen(floats), _winograd_terms)
        fits, costs = [*fits, fit], costs._replace(floats=WinogradCosts(*found))
        of_bytes = [trial for trial in layers if trial.layer.kind == "u8"]
        if of_bytes:
            found, fit = _fitted("convolutions of bytes", of_bytes, _winograd_terms)
            # As if their units were four and two times as fast as those of float32.
            found[0] *= vector_integer_speed() / 4
            found[1] *= pair_speed() / 2
            own = WinogradCosts(*(round(number, 4) for number in found))
            fits, costs = [*fits, fit], costs._replace(byte_words=own)
    return costs, fits


def _as_chosen(trials: Sequence[LayerTrial]) -> list[LayerTrial]:
    """Return trials of Winograd's forms, and those of direct ones with the cheapest tile."""
    return [
        trial
        for trial in trials
        if trial.form.algorithm == "winograd" or trial.form == trial.layer.forms()[0]
    ]


def _steady(measure: Callable[[], list[LayerTrial]]) -> list[LayerTrial]:
    """Return trials whose bursts agree.

    Raises
    ------
    Disturbed
        None of some attempts gave such trials.
    """
    for _ in range(_ATTEMPTS):
        trials = measure()
        spread = float(np.median([max(t.costs) / min(t.costs) - 1 for t in trials]))
        if spread <= _SPREAD:
            return trials
    raise Disturbed(
        f"times of the same kernel differ by {spread:.0%} from one moment to the next, "
        f"{_SPREAD:.0%} at most were expected: other work disturbs the measurement"
    )


def _fitted(
    name: str, trials: Sequence[LayerTrial], terms: Callable[[LayerTrial], Sequence[float]]
) -> tuple[list[float], Fit]:
    """Return coefficients for which relative differences are least, and how large they are."""
    costs = np.array([min(trial.costs) for trial in trials])
    relative = np.array([terms(trial) for trial in trials]) / costs[:, None]
    found = nonnegative_least_squares(relative, np.ones(len(costs)))
    errors = np.abs(relative @ found - 1)
    fit = Fit(name, len(costs), round(float(errors.mean()), 4), round(float(errors.max()), 4))
    return found.round(4).tolist(), fit


def _tile_error(trials: Sequence[LayerTrial], chain: float) -> float:
    return _fitted("", trials, functools.partial(_tile_terms, chain))[1].error


def _tile_terms(chain: float, trial: LayerTrial) -> Sequence[float]:
    return trial.layer.tile_terms(trial.form, chain)


def _winograd_terms(trial: LayerTrial) -> Sequence[float]:
    return trial.layer.winograd_terms(trial.form)
