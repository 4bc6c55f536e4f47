"""Outputs of runs that stay on a GPU: arrays of the caller, or new ones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ....errors import InvalidArgument
from ....kernels.record import address_of
from ...program import Program
from .arrays import Place
from .device_array import DeviceArray
from .driver import Copy, Driver
from .output_memory import OutputMemory


class Target(NamedTuple):
    """An array of the caller that an output is written into: its place, shape and type."""

    place: Place
    array: Any
    shape: tuple[int, ...]
    dtype: np.dtype


class KeptOutputs:
    """Outputs of a context's runs that stay on the GPU.

    Parameters
    ----------
    program : Program
    driver : Driver
    memory : OutputMemory
    number : int
        Of the program: its outputs have memory of their own.

    Attributes
    ----------
    targets : mapping of int to Target or None
        Those of the next run, by their numbers; None for one that has no array yet.
    arrays : dict of int to array
        Those of a run that are made, as the caller gets them.
    """

    def __init__(self, program: Program, driver: Driver, memory: OutputMemory, number: int) -> None:
        self._program, self._driver, self._memory = program, driver, memory
        self._number = number
        self.targets: Mapping[int, Target | None] = {}
        self.arrays: dict[int, Any] = {}

    def new(self, index: int, shape: tuple[int, ...], dtype: np.dtype, size: int) -> DeviceArray:
        """Return a new array for an output of so many bytes."""
        block = self._memory.lend(size, (self._number, index))
        return DeviceArray(self._driver, block, shape, dtype)

    def make(self, index: int, shape: tuple[int, ...], dtype: np.dtype) -> tuple[Place, Any]:
        """Return where an output goes, and the array that the caller gets.

        Raises
        ------
        InvalidArgument
            The array that is bound to it has another shape or type.
        """
        target = self.targets[index]
        if target is None:
            array = self.new(index, shape, dtype, math.prod(shape) * dtype.itemsize)
            return Place(array.address, array), array
        if (target.shape, target.dtype) != (shape, dtype):
            name = self._program.outputs[index].name
            raise InvalidArgument(
                f"output {name!r} is {dtype.name} of shape {shape}, the array that is bound to it "
                f"is {target.dtype.name} of shape {target.shape}"
            )
        return target.place, target.array

    def copy(self, index: int, value: Any) -> None:
        """Copy an output of the host to where it is to stay.

        Raises
        ------
        InvalidArgument
            It is no array of numbers.
        """
        if not isinstance(value, np.ndarray) or value.dtype == object:
            name = self._program.outputs[index].name
            raise InvalidArgument(f"output {name!r} is no array of numbers: bind it to 'cpu'")
        place, self.arrays[index] = self.make(index, value.shape, value.dtype)
        value = np.ascontiguousarray(value)
        if value.nbytes:
            self._driver.to_device(Copy(place.address, address_of(value), value.nbytes))
