"""Arrays of runs that are bound beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..arguments import Shapes


@dataclass(eq=False)
class Bound:
    """Inputs and outputs of runs, checked.

    Attributes
    ----------
    arrays, shapes
        Inputs as the signature gives them.
    places : mapping
        Where inputs lie on the device, by the ``id`` of the arrays that stand for them.
    targets : mapping
        Outputs that stay on the device, by their numbers: None, or the array that is written.
    wanted : sequence of int
        Outputs that the caller gets; all if there are none.
    waits : bool
        Whether a run is over when it returns.
    """

    arrays: Sequence[Any]
    shapes: Shapes
    places: Mapping[int, Any]
    targets: Mapping[int, Any]
    wanted: Sequence[int]
    waits: bool = True
