"""Mixes of precisions: which layers to quantize first, by error for each nanosecond they save.

The choice is a multiple-choice knapsack; its linear relaxation takes steps along the lower convex
hull of each layer's options, the cheapest first (H. Kellerer, U. Pferschy and D. Pisinger, Knapsack
Problems, 2004, chapter 11).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

FLOAT = "fp32"
_FASTER = 0.97
"""Times of a layer differ as much from one measurement to the next."""


@dataclass(frozen=True)
class Option:
    """A precision that a layer may have.

    Attributes
    ----------
    precision : str
    noise : float
        What it adds to the noise of the results.
    ns : float
        Time of the layer.
    """

    precision: str
    noise: float
    ns: float


@dataclass(frozen=True)
class Step:
    """A layer that becomes faster, and what that costs.

    Attributes
    ----------
    layer : str
    option : Option
    noise, saved : float
        More noise, and less time, than with the step before of this layer.
    """

    layer: str
    option: Option
    noise: float
    saved: float

    @property
    def price(self) -> float:
        """Noise for a nanosecond."""
        return self.noise / self.saved


def steps(options: Mapping[str, Sequence[Option]]) -> list[Step]:
    """Return all steps that save time, those with the least noise for it first.

    Parameters
    ----------
    options : mapping of str to sequence of Option
        By layer; the first is float32.
    """
    found = [step for layer, row in options.items() for step in _hull(layer, row)]
    return sorted(found, key=lambda step: step.price)


def _hull(layer: str, options: Sequence[Option]) -> list[Step]:
    """Steps of one layer: each is the cheapest from where the one before led."""
    found: list[Step] = []
    at = options[0]
    while True:
        ways = [
            Step(layer, each, max(each.noise - at.noise, 0.0), at.ns - each.ns)
            for each in options
            if each.ns < _FASTER * at.ns
        ]
        if not ways:
            return found
        best = min(ways, key=lambda step: (step.price, -step.saved))
        found.append(best)
        at = best.option


def mix(chosen: Sequence[Step]) -> dict[str, str]:
    """Return the precision of each layer that some steps lead to; others stay float32."""
    return {step.layer: step.option.precision for step in chosen}
