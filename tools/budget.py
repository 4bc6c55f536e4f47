"""Budget: the fastest mix of precisions whose results lose no more than is allowed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..kernels.unit_rates import BFLOATS_WORTH, bfloat16_speed
from ..notes import PRECISION_NOTE
from . import borders, mixes
from .calibrated import Calibrated
from .drops import Feed, Held, Metric, drop
from .layer_times import few_samples, layer_times, outputs_of, rounded_layers, run_times
from .mixes import FLOAT, Option
from .sensitivity import Sensitivity, Switchboard

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..optimizer.quantize.ranges import Range

_SAMPLES = 4
"""Samples that layers are measured on."""
_ROUNDS = 3
"""Times that a mix is improved by what its layers were measured to take."""
_NEARLY = 1.05
"""Mixes that were measured apart from each other may differ as much by chance."""


@dataclass
class Candidate:
    """A mix of precisions as a model, verified.

    Attributes
    ----------
    precisions : dict of str to str
        By layer; what is missing is float32.
    model : onnx_ir.Model
    ranges : dict of ir.Value to Range
        Of its tensors.
    drop : float
        In points, on the data held back.
    ns, float_ns : float
        Of a run of one sample, and of the float model's, measured in turns.
    layer_ns : dict of str to float
    """

    precisions: dict[str, str]
    model: ir.Model
    ranges: dict[ir.Value, Range]
    drop: float
    ns: float
    float_ns: float
    layer_ns: dict[str, float]

    @property
    def ratio(self) -> float:
        """Time of a run, by that of the float model."""
        return self.ns / self.float_ns


@dataclass
class Search:
    """What was measured, and what was chosen.

    Attributes
    ----------
    sensitivity : dict of str to dict of str to Sensitivity
        By layer and precision.
    float_ns : dict of str to float
        Time of each layer in float32.
    options : dict of str to list of Option
    best : Candidate
        The fastest of those within the budget; where none is, that with the least drop.
    reasons : dict of str to str
        Why layers are not in 8 bits, by name.
    budget : float or None
    """

    sensitivity: dict[str, dict[str, Sensitivity]]
    float_ns: dict[str, float]
    options: dict[str, list[Option]]
    best: Candidate
    reasons: dict[str, str] = field(default_factory=dict)
    budget: float | None = None

    @property
    def is_within(self) -> bool:
        """Whether the budget is met."""
        return self.budget is None or self.best.drop <= self.budget


class Searcher:
    """Looks for the fastest mix of a calibrated model.

    Parameters
    ----------
    calibrated : Calibrated
    feed : mapping of str to ndarray
        That calibration has seen; its first samples are what layers are measured on.
    held : Held
        What mixes are verified on.
    metric : str or callable, optional
        As `drops.drop` takes it.
    threads : int, optional
    """

    def __init__(
        self, calibrated: Calibrated, feed: Feed, held: Held,
        metric: str | Metric | None, threads: int | None,
    ) -> None:  # fmt: skip
        from ..runtime.session import Session

        self.calibrated, self.held, self.metric, self.threads = calibrated, held, metric, threads
        self.layers = calibrated.layers()
        self.few = few_samples(calibrated.model, feed, _SAMPLES)
        self.sample = few_samples(calibrated.model, feed, 1)
        self.floats = Session(calibrated.model, threads=threads)
        self.expected = outputs_of(self.floats, held.feeds)
        self.bfloats = bfloat16_speed() >= BFLOATS_WORTH
        self.shares: dict[str, float] | None = None
        self.board = Switchboard(calibrated, self.bfloats, threads)
        self.tried: list[Candidate] = []

    def search(self, budget: float | None) -> Search:
        """Find the fastest mix within a budget; of all layers in 8 bits where there is none.

        All steps are tried first, and all layers. If they lose too much, a bisection over the
        steps, in their order, finds how many hold, in the compiled model with switches; the mix is
        then verified as it is written, and gives back steps, the dearest first, until it holds.
        """
        whole = self._try(dict.fromkeys(self.layers, "int8"))
        self.shares = whole.layer_ns
        sensitivity = self.board.sensitivity(self.few)
        float_ns = layer_times(self.floats, self.sample, self.layers, self.shares)
        homes: dict[str, borders.Mix] = {FLOAT: {}, "int8": whole.precisions}
        times = {FLOAT: float_ns, "int8": whole.layer_ns}
        if budget is not None and self.bfloats and (halves := self._in_bfloats()):
            homes["bf16"], times["bf16"] = halves.precisions, halves.layer_ns
        options = _options(sensitivity, homes, times)
        steps = mixes.steps(options)
        count = len(steps)
        if budget is not None and steps:

            def mix(count: int) -> dict[str, str]:
                return borders.improved(mixes.mix(steps[:count]), options, between)

            between = borders.measured(self.layers, homes, times, self._times_of)
            if self._tried(mix(count)).drop > budget:
                count = self._give_back(mix, count, budget)
            self._learn(options, between, budget)
            self._compare(budget)
        found = Search(sensitivity, float_ns, options, self._best(budget), budget=budget)
        left = {step.layer for step in steps[count:] if step.option.precision == "int8"}
        found.reasons = _reasons(found, left, self.layers)
        return found

    def _give_back(self, mix: Callable[[int], dict[str, str]], count: int, budget: float) -> int:
        """Verify mixes of fewer and fewer steps until the budget is met; returns how many."""
        holds, fails = 0, count
        while fails - holds > 1:
            middle = (holds + fails) // 2
            if self._predicted_drop(mix(middle)) <= budget:
                holds = middle
            else:
                fails = middle
        holds, fewer = max(holds, 1), 1
        while holds > 0 and self._try(mix(holds)).drop > budget:
            holds, fewer = holds - fewer, 2 * fewer
        return max(holds, 0)

    def _learn(
        self, options: Mapping[str, Sequence[Option]], between: borders.Borders, budget: float
    ) -> None:
        """Improve the best mix by what its own layers took, and verify what comes of it."""
        for _ in range(_ROUNDS):
            best = self._best(budget)
            between = borders.corrected(between, best.precisions, options, best.layer_ns)
            other = borders.improved(best.precisions, options, between)
            if other == best.precisions or other in [each.precisions for each in self.tried]:
                return
            self._try(other)

    def _compare(self, budget: float) -> None:
        """Measure those nearly as fast as the best mix beside it, in turns."""
        from ..runtime.session import Session

        best = self._best(budget)
        near = [
            each
            for each in self.tried
            if each.drop <= budget and each.ratio <= _NEARLY * best.ratio
        ]
        if len(near) < 2 or best.drop > budget:
            return
        with contextlib.ExitStack() as stack:
            sessions = [
                stack.enter_context(Session(each.model, threads=self.threads)) for each in near
            ]
            float_ns, *times = run_times([self.floats, *sessions], self.sample)
        for each, ns in zip(near, times, strict=True):
            each.ns, each.float_ns = ns, float_ns

    def _times_of(self, mix: borders.Mix) -> dict[str, float]:
        """Measure the layers of a mix."""
        from ..runtime.session import Session

        with Session(self._made(mix)[0], threads=self.threads) as session:
            return layer_times(session, self.sample, self.layers, self.shares)

    def _made(self, mix: borders.Mix) -> tuple[ir.Model, dict[ir.Value, Range]]:
        """Make the model of a mix; returns the ranges of its tensors, too."""
        integers = [layer for layer, each in mix.items() if each == "int8"]
        model, ranges = self.calibrated.quantized(integers)
        _note_bfloats(model, [layer for layer, each in mix.items() if each == "bf16"])
        return model, ranges

    def _in_bfloats(self) -> Candidate | None:
        """Try all layers that are computed as products of bfloat16 when they have the note.

        None where there are none: some of few channels, or in a form that is faster, are float32.
        """
        from ..runtime.session import Session

        model, _ = self._made(dict.fromkeys(self.layers, "bf16"))
        with Session(model, threads=self.threads) as session:
            found = rounded_layers(session, self.layers)
        return self._try(dict.fromkeys(found, "bf16")) if found else None

    def _predicted_drop(self, precisions: Mapping[str, str]) -> float:
        found = [self.board.run(feed, precisions) for feed in self.held.feeds]
        return drop(self.metric, self.expected, found, self.held.labels)

    def _try(self, precisions: dict[str, str]) -> Candidate:
        """Make the model of a mix, and measure what it loses and how long it takes."""
        from ..runtime.session import Session

        model, ranges = self._made(precisions)
        with Session(model, threads=self.threads) as session:
            results = outputs_of(session, self.held.feeds)
            float_ns, ns = run_times([self.floats, session], self.sample)
            times = layer_times(session, self.sample, self.layers, self.shares)
        lost = drop(self.metric, self.expected, results, self.held.labels)
        made = Candidate(precisions, model, ranges, lost, ns, float_ns, times)
        self.tried.append(made)
        return made

    def _tried(self, precisions: dict[str, str]) -> Candidate:
        """Try a mix, unless that was done."""
        found = [each for each in self.tried if each.precisions == precisions]
        return found[0] if found else self._try(precisions)

    def _best(self, budget: float | None) -> Candidate:
        within = [each for each in self.tried if budget is None or each.drop <= budget]
        if within:
            return min(within, key=lambda each: each.ratio)
        return min(self.tried, key=lambda each: np.nan_to_num(each.drop, nan=np.inf))

    def close(self) -> None:
        """Free what was compiled."""
        self.floats.close()
        self.board.session.close()


def _options(
    sensitivity: Mapping[str, Mapping[str, Sensitivity]],
    homes: Mapping[str, borders.Mix],
    times: Mapping[str, Mapping[str, float]],
) -> dict[str, list[Option]]:
    """Collect the precisions that each layer may have, float32 first, with its times in them."""
    return {
        layer: [
            Option(FLOAT, 0.0, times[FLOAT][layer]),
            *(
                Option(name, each.noise, times[name][layer])
                for name, each in row.items()
                if layer in homes.get(name, ())
            ),
        ]
        for layer, row in sensitivity.items()
    }


def _note_bfloats(model: ir.Model, layers: Collection[str]) -> None:
    for node in model.graph:
        if node.name in layers:
            node.metadata_props[PRECISION_NOTE] = "bf16"


def _reasons(found: Search, left: Collection[str], layers: Mapping[str, Any]) -> dict[str, str]:
    """Say why layers of the best mix are not in 8 bits; some were ``left`` to meet the budget."""
    total = sum(row["int8"].noise for row in found.sensitivity.values()) or 1.0
    reasons = {}
    for layer in layers:
        if found.best.precisions.get(layer) == "int8":
            continue
        slow, fast = (option.ns for option in found.options[layer] if option.precision != "bf16")
        if fast >= slow:
            reasons[layer] = f"no faster in 8 bits: {fast / 1e3:.1f} µs, {slow / 1e3:.1f} in float"
        elif layer in left:
            share = 100 * found.sensitivity[layer]["int8"].noise / total
            reasons[layer] = (
                f"its error, {share:.0f} % of the sum of all layers', saves "
                f"{(slow - fast) / 1e3:.1f} µs only: given back to stay within the budget"
            )
        elif found.best.precisions.get(layer, FLOAT) == FLOAT:
            reasons[layer] = "beside float layers: what quantizes and widens between takes longer"
        else:
            reasons[layer] = "faster as bfloat16, which loses less"
    return reasons
