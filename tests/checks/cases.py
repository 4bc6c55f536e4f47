"""Cases of an operator that hypothesis draws, and settings of the models made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st

from ..reference.drawing import Case, Draw
from ..reference.every_draw import DRAWN
from ..reference.modelling import node_model, typed

USUAL = {np.dtype(kind) for kind in ("float32", "float16", "int64", "uint8", "bool")}
"""Element types of the short run: each type has kernels of its own, which are compiled."""


class Drawn(Draw):
    """A generator whose choices hypothesis makes, and shrinks; contents follow from a seed."""

    def __init__(
        self, data: st.DataObject, name: str, domain: str, version: int, *, every_type: bool
    ) -> None:
        self._data = data
        self._every_type = every_type
        super().__init__(data.draw(st.integers(0, 2**32 - 1)), name, domain, version)

    def pick(self, values: Sequence[Any]) -> Any:
        return values[self.int(0, len(values) - 1)]

    def chance(self, share: float) -> bool:
        return self.int(0, 99) >= round(100 * (1 - share))

    def int(self, low: int, high: int) -> int:
        if high < low:
            raise ValueError(f"no integer from {low} to {high}")
        return self._data.draw(st.integers(low, high))

    def kind(self, variable: str | None = None, leave: str = "OUSc") -> np.dtype[Any]:
        if self._every_type:
            return super().kind(variable, leave)
        kinds = self.kinds(variable, leave)
        return self.pick([kind for kind in kinds if kind in USUAL] or kinds)


@dataclass(frozen=True)
class Setting:
    """How a case becomes a model and feeds.

    Attributes
    ----------
    open
        Percentage of the axes without a declared size.
    constants
        Percentage of the inputs that are initializers.
    layout
        Makes an array of the same elements that lies in another way.
    """

    open: int = 30
    constants: int = 50
    layout: Callable[[np.ndarray], np.ndarray] = np.ascontiguousarray

    def model(self, draw: Draw, case: Case) -> tuple[onnx.ModelProto, dict[str, Any]]:
        """Make a model of a case, and what is fed to it."""
        feeds: dict[str, Any] = {}

        def port(index: int, name: str, value: Any) -> onnx.ValueInfoProto | None:
            is_array = isinstance(value, np.ndarray)
            if is_array and value.dtype.kind != "O" and draw.int(1, 100) <= self.constants:
                return None
            if not is_array:
                return None
            feeds[name] = value if value.dtype.kind == "O" else self._laid(value)
            is_list = index and value.ndim == 1  # the number of sizes is always declared
            return typed(name, value, lambda: not is_list and draw.int(1, 100) <= self.open)

        return node_model(draw, case, port), feeds

    def _laid(self, value: np.ndarray) -> np.ndarray:
        laid = self.layout(value) if value.ndim else value
        assert laid.shape == value.shape
        return laid


def any_case(draw: Draw) -> Case:
    """Draw a case of the operator, from the table of `tests.reference`."""
    return DRAWN[draw.domain, draw.name](draw)


def reversed_memory(array: np.ndarray) -> np.ndarray:
    """Return the array with negative strides."""
    every = (slice(None, None, -1),) * array.ndim
    return array[every].copy()[every]


def fortran(array: np.ndarray) -> np.ndarray:
    """Return the array with its first axis the densest."""
    return np.asfortranarray(array)


def every_second(array: np.ndarray) -> np.ndarray:
    """Return the array with gaps between elements."""
    room = np.zeros([2 * n for n in array.shape], array.dtype)
    every = (slice(None, None, 2),) * array.ndim
    room[every] = array
    return room[every]


LAYOUTS = (reversed_memory, fortran, every_second)
