"""Notes on a source besides its model: how to run it, labels, normalization, parts left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx_ir as ir

LABELS, MEAN, STD, SOURCE = "labels", "mean", "std", "sardonyx.source"
"""Keys of ``metadata_props``: JSON lists, and what the model was converted from."""

Run = Callable[[Mapping[str, np.ndarray]], Sequence[Any]]
_NAMED = 3


@dataclass
class Notes:
    """Information on a source that is not in the graph.

    Attributes
    ----------
    framework : str
        What the model comes from, with its version; empty for ONNX.
    run : callable, optional
        Runs the source in its framework: arrays by the names of the model's inputs; returns the
        outputs in the order of the model's.
    examples : dict of str to ndarray
        Inputs that the caller gave, by the names of the model's inputs.
    dropped : list of str
        Parts that are at work only in training.
    labels : list of str
        Names of the classes.
    mean, std : list of float
        Normalization that the inputs need before the model, as the source states it.
    precision : float
        Unit roundoff of the narrowest floating-point type that the source computes in.
    """

    framework: str = ""
    run: Run | None = None
    examples: dict[str, np.ndarray] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    mean: list[float] = field(default_factory=list)
    std: list[float] = field(default_factory=list)
    precision: float = 2.0**-24

    def drop(self, parts: Iterable[tuple[str, str]]) -> None:
        """List parts, given as (class, name), by their classes."""
        names: dict[str, list[str]] = {}
        for kind, name in parts:
            names.setdefault(kind, []).append(name)
        for kind, parts_of_kind in names.items():
            count = len(parts_of_kind)
            more = f" and {count - _NAMED} more" if count > _NAMED else ""
            self.dropped.append(f"{kind} ({', '.join(parts_of_kind[:_NAMED])}{more})")

    def write(self, model: ir.Model) -> None:
        """Write labels, normalization and framework into a model's ``metadata_props``."""
        for key, values in ((LABELS, self.labels), (MEAN, self.mean), (STD, self.std)):
            if values:
                model.metadata_props[key] = json.dumps(values, ensure_ascii=False)
        if self.framework:
            model.metadata_props[SOURCE] = self.framework


def labels_of(names: Any) -> list[str]:
    """Return the names of classes from a list, or from a mapping of their numbers.

    Names that only repeat the number, as transformers makes them up, are none.
    """
    if isinstance(names, Mapping):
        try:
            numbered = {int(number): str(name) for number, name in names.items()}
        except (TypeError, ValueError):
            return []
        if sorted(numbered) != list(range(len(numbered))):
            return []
        names = [numbered[number] for number in range(len(numbered))]
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return []
    made_up = all(name == f"LABEL_{number}" for number, name in enumerate(names))
    return [] if made_up else list(names)
