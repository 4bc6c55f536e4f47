"""States of a model that stay on a GPU from run to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .arrays import Place
from .device_array import DeviceArray


class DeviceStates:
    """Arrays of the host, each of which stands for one of the GPU that has its contents.

    Parameters
    ----------
    copied : callable
        Copies an array of the host to the GPU.
    """

    def __init__(self, copied: Callable[[np.ndarray], DeviceArray]) -> None:
        self._copied = copied
        self._known: dict[str, tuple[np.ndarray, DeviceArray]] = {}

    def places(self, arrays: Mapping[str, np.ndarray]) -> dict[int, Place]:
        """Return where states lie, by the ``id`` of their arrays; those that are new are copied."""
        self._known = {name: self._known_or_copied(name, array) for name, array in arrays.items()}
        return {id(array): Place(held.address, held) for array, held in self._known.values()}

    def _known_or_copied(self, name: str, array: np.ndarray) -> tuple[np.ndarray, DeviceArray]:
        known = self._known.get(name)
        if known is not None and known[0] is array:
            return known
        return array, self._copied(np.ascontiguousarray(array))

    def keep(self, name: str, value: Any) -> np.ndarray:
        """Keep the value of a state that a run has made; returns the array that stands for it."""
        if not isinstance(value, DeviceArray):
            array: np.ndarray = value
            return array
        stands = np.zeros(value.shape, value.dtype)
        self._known[name] = stands, value
        return stands

    def fetch(self, name: str, array: np.ndarray) -> None:
        """Copy the contents of a state into the array that stands for it."""
        known = self._known.get(name)
        if known is not None and known[0] is array and array.nbytes:
            array[...] = known[1].numpy()
