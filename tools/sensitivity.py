"""Sensitivity: what the results of a model lose when one layer alone is quantized."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibrated import Calibrated
from .drops import Feed, is_floats
from .progress import shown

if TYPE_CHECKING:
    from ..optimizer.quantize.switches import Switch

_AT_ONCE = 16
"""Layers whose float results are kept at a time."""


@dataclass(frozen=True)
class Error:
    """Error of results against those of the float model.

    Attributes
    ----------
    noise : float
        Mean squared error, as a part of the mean square.
    cosine : float
    """

    noise: float
    cosine: float

    @property
    def decibels(self) -> float:
        """Signal to quantization noise."""
        return float(-10 * np.log10(self.noise)) if self.noise else np.inf


def error(expected: np.ndarray, found: np.ndarray) -> Error:
    """Compare a tensor with that of the float model; other sizes are an infinite error."""
    if np.shape(expected) != np.shape(found):
        return Error(np.inf, 0.0)
    a, b = (array.reshape(-1).astype(np.float64) for array in (expected, found))
    power, difference = float(a @ a), a - b
    noise = float(difference @ difference)
    lengths = np.sqrt(power * float(b @ b))
    if not power:
        return Error(np.inf if noise else 0.0, float(not noise))
    return Error(noise / power, float(a @ b) / lengths if lengths else 0.0)


@dataclass(frozen=True)
class Sensitivity:
    """Errors of a layer that alone is computed in a precision.

    Attributes
    ----------
    own : Error
        Of the layer's result.
    noise : float
        Of the model's results: the sum over its outputs of floats.
    """

    own: Error
    noise: float


class Switchboard:
    """A model whose layers compute in any mix of precisions, compiled once.

    Parameters
    ----------
    calibrated : Calibrated
    bfloats : bool
        Whether layers may also be bfloat16.
    threads : int, optional
    """

    def __init__(self, calibrated: Calibrated, bfloats: bool, threads: int | None) -> None:
        from ..optimizer.quantize.switches import write_switches
        from ..runtime.session import Session

        model, regions, ranges = calibrated.copy()
        self.outputs = [str(value.name) for value in model.graph.outputs]
        found = write_switches(model, regions, ranges, bfloats)
        self.switches: dict[str, Switch] = {each.layer: each for each in found}
        self.session = Session(model, threads=threads)

    def run(
        self, feed: Feed, precisions: Mapping[str, str], results: Collection[str] = ()
    ) -> list[Any]:
        """Run the model with some layers in other precisions than float32.

        Returns
        -------
        list
            Its outputs, then the results of the layers named.
        """
        flags = {
            flag: np.asarray(precisions.get(layer) == precision)
            for layer, switch in self.switches.items()
            for precision, flag in switch.flags.items()
        }
        names = [*self.outputs, *(self.switches[layer].result for layer in results)]
        return self.session.run(names, {**feed, **flags})

    def sensitivity(self, feed: Feed) -> dict[str, dict[str, Sensitivity]]:
        """Compute each layer alone in each precision.

        Parameters
        ----------
        feed : mapping of str to ndarray
            A few samples.

        Returns
        -------
        dict of str to dict of str to Sensitivity
            By layer and precision.
        """
        found: dict[str, dict[str, Sensitivity]] = {layer: {} for layer in self.switches}
        for layer, precision, each in shown(self._errors(feed), "measuring layers"):
            found[layer][precision] = each
        return found

    def _errors(self, feed: Feed) -> Iterator[tuple[str, str, Sensitivity]]:
        for start in range(0, len(self.switches), _AT_ONCE):
            layers = list(self.switches)[start : start + _AT_ONCE]
            floats = self.run(feed, {}, layers)
            expected, own = floats[: len(self.outputs)], floats[len(self.outputs) :]
            for layer, result in zip(layers, own, strict=True):
                for precision in self.switches[layer].flags:
                    *found, changed = self.run(feed, {layer: precision}, [layer])
                    there = error(result, changed)
                    noise = _outputs_noise(expected, found)
                    each = Sensitivity(there, there.noise if noise is None else noise)
                    yield layer, precision, each


def _outputs_noise(expected: Sequence[Any], found: Sequence[Any]) -> float | None:
    """Sum of the noise of all outputs of floats; None where none keeps its shape."""
    errors = [
        error(e, f).noise
        for e, f in zip(expected, found, strict=True)
        if is_floats(e) and e.shape == f.shape
    ]
    return sum(errors) if errors else None
