"""Verification of a quantized model: what its results lose, and how fast it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Set, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from ..given_numbers import is_finite
from . import text
from .calibration_data import calibration_feeds
from .drops import Feed, Held, Metric, drop, held_back, metric_name, split
from .layer_times import few_samples, is_slower, outputs_of, run_times

if TYPE_CHECKING:
    import onnx_ir as ir

_STEP = 2
"""Every second run of the data is held back from calibration."""


@dataclass(frozen=True)
class Verification:
    """What the results of a quantized model are held to.

    Attributes
    ----------
    max_drop : float or None
        Points that they may lose.
    metric, labels, validation
        As `quantize` takes them.
    """

    max_drop: float | None
    metric: str | Metric | None
    labels: Any
    validation: Any

    def __post_init__(self) -> None:
        metric_name(self.metric, self.labels)
        is_some = isinstance(self.labels, Sized) and not isinstance(
            self.labels, str | Mapping | Set
        )
        if self.labels is not None and not is_some:
            raise InvalidArgument(f"labels must be a sequence, not {self.labels!r}")
        given = self.max_drop
        if given is not None and not (is_finite(given) and given >= 0):
            raise InvalidArgument(f"max_drop must be a number of points, not {self.max_drop!r}")

    @property
    def name(self) -> str:
        """Name of the metric."""
        return metric_name(self.metric, self.labels)

    def split(self, model: ir.Model, data: Any) -> tuple[Iterable[Feed], Held]:
        """Return feeds to calibrate on, and those to verify on."""
        feeds = calibration_feeds(model, data)
        if self.validation is None:
            return split(list(feeds), self.labels, _STEP)
        return feeds, self.held(model, self.validation)

    def held(self, model: ir.Model, data: Any) -> Held:
        """Return data of which nothing is calibrated on."""
        return held_back(list(calibration_feeds(model, data, "validation data")), self.labels)


@dataclass(frozen=True)
class Measured:
    """A quantized model beside the float one.

    Attributes
    ----------
    ns, float_ns : float
        Of a run of one sample, measured in turns.
    drop : float or None
        In points, where data was given to verify on.
    """

    ns: float
    float_ns: float
    drop: float | None = None

    def refusals(self, max_drop: float | None) -> Iterator[str]:
        """Yield why nobody wants such a model."""
        if is_slower(self.ns, self.float_ns):
            yield (
                f"it is slower than the float model: {text.duration(self.ns)} for a sample, "
                f"{text.duration(self.float_ns)} in float"
            )
        if max_drop is not None and self.drop is not None and not self.drop <= max_drop:
            yield f"it loses {self.drop:.3g} points, and {max_drop:g} are allowed"


def measure(
    floats: ir.Model,
    quantized: ir.Model,
    sample: Feed,
    threads: int | None,
    held: Held | None = None,
    metric: str | Metric | None = None,
) -> Measured:
    """Run two models beside each other.

    Parameters
    ----------
    floats, quantized : onnx_ir.Model
    sample : mapping of str to ndarray
        What their times are measured on; its first sample, if the models take any number.
    threads : int, optional
    held : Held, optional
        What results are compared on, by ``metric``.
    """
    from ..runtime.session import Session

    feed = few_samples(floats, sample, 1)
    with Session(floats, threads=threads) as before, Session(quantized, threads=threads) as after:
        float_ns, ns = run_times([before, after], feed)
        if held is None:
            return Measured(ns, float_ns)
        expected, found = (outputs_of(each, held.feeds) for each in (before, after))
    return Measured(ns, float_ns, drop(metric, expected, found, held.labels))


def with_first(feeds: Iterable[Feed]) -> tuple[Feed | None, Iterable[Feed]]:
    """Return the first feed that is not empty, and all, which are still read once only."""
    rest = iter(feeds)
    before: list[Feed] = []
    for feed in rest:
        before.append(feed)
        if any(np.size(array) for array in feed.values()):
            break
    return (before[-1] if before else None), itertools.chain(before, rest)
