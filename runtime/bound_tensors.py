"""Tensors of a program at the sizes and addresses that they are bound to."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..kernels.abi import BUFFER_KIND, HOST
from ..kernels.record import address_of
from .memory import memory_view, prefault
from .objects import copied, given_away, protected
from .program import Program, TensorSpec

_INTEGERS: dict[str, Any] = {"int64": ctypes.c_int64, "int32": ctypes.c_int32}
"""Types of tensors whose elements become sizes."""


class BoundTensors:
    """Values of a program's tensors, as arrays over the memory of a run.

    Parameters
    ----------
    program : Program

    Attributes
    ----------
    program : Program
    bases : ndarray of int64
        Address of each buffer.
    arena : ndarray of uint8
        Working memory.
    objects : dict of int to object
        Values of buffers that lie with the host: results of host steps, and inputs that are no
        plain tensors.
    inputs : dict of int to ndarray
        Arrays of the run by tensor, where host steps may read them.
    owners : dict of int to ndarray
        Arrays of the run by buffer: inputs and outputs. What an operator hands on of them keeps
        them, since in a body it may outlive the run.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.bases = np.zeros(max(len(program.buffers), 1), np.int64)
        self.arena = np.empty(0, np.uint8)
        self.objects: dict[int, Any] = {}
        self.inputs: dict[int, np.ndarray] = {}
        self.owners: dict[int, np.ndarray] = {}
        self._results = frozenset(t for host in program.host_steps for t in host.outputs)
        self._kinds = program.buffers[:, BUFFER_KIND]
        self._is_host = (self._kinds == HOST).tolist()
        self._values = np.zeros(len(program.code) + 1, np.int64)
        self._shapes: dict[int, tuple[int, ...]] = {}  # for the sizes as they are, as views
        self._views: dict[int, tuple[int, np.ndarray]] = {}

    def value(self, slot: int) -> int:
        """Value of a size, as bound."""
        return int(self._values[slot])

    def values(self, slots: np.ndarray) -> list[int]:
        """Values of sizes, as bound."""
        found: list[int] = self._values[slots].tolist()
        return found

    def shape(self, index: int) -> tuple[int, ...]:
        """Shape of a tensor, as bound."""
        found = self._shapes.get(index)
        if found is None:
            slots = self.program.tensors[index].shape
            found = self._shapes[index] = tuple(int(self._values[slot]) for slot in slots)
        return found

    def attach(self, buffer: int, value: Any) -> None:
        """Let a buffer be the memory of an array of this run, or stand for a Python object."""
        if isinstance(value, np.ndarray):
            self.bases[buffer] = address_of(value)
        if self._is_host[buffer]:
            self.objects[buffer] = value
        else:
            self.owners[buffer] = value

    def let_go(self) -> None:
        """Forget the values of a run that is over."""
        self.objects.clear()
        self.inputs.clear()
        self.owners.clear()

    def numbers(self, index: int) -> list[int]:
        """Return the elements of a tensor of integers, most often one."""
        spec: TensorSpec = self.program.tensors[index]
        if all(self._values[slot] == 1 for slot in spec.shape):
            address = int(self.bases[spec.buffer]) + self.value(spec.offset)
            return [_INTEGERS[spec.dtype].from_address(address).value]
        numbers: list[int] = self.view(index).ravel().tolist()
        return numbers

    @property
    def arena_bytes(self) -> int:
        """Bytes of working memory held."""
        return self.arena.nbytes

    def prefault(self) -> None:
        """Map the pages of the working memory, which the first run would do one by one."""
        prefault(self.arena, writable=True)

    def is_working_memory(self, array: np.ndarray) -> bool:
        """Tell whether an array lies in the arena."""
        if array.dtype.hasobject:
            return False
        if array.base is None:  # it has memory of its own
            return array is self.arena
        return 0 <= address_of(array) - address_of(self.arena) < self.arena.nbytes

    def lies_with_host(self, index: int) -> bool:
        """Tell whether a tensor is a value that ``objects`` has."""
        return index in self._results or self.program.tensors[index].dtype == "object"

    def as_given(self, index: int) -> Any:
        """Return a tensor as the array that the run was given, else as a view that keeps it."""
        array = self.inputs.get(index)
        if array is not None:
            return array
        owner = self.owners.get(self.program.tensors[index].buffer)
        return self.view(index) if owner is None else self._over(index, owner)

    def view(self, index: int) -> Any:
        """Return a tensor as a read-only array, valid until the next step, or as an object."""
        spec: TensorSpec = self.program.tensors[index]
        if index in self.inputs:
            return protected(self.inputs[index])
        owner = self.objects.get(spec.buffer)
        if spec.dtype == "object" or index in self._results:
            return protected(owner)
        if owner is not None:
            return self._over(index, owner)
        base = int(self.bases[spec.buffer])
        known = self._views.get(index)
        if known is not None and known[0] == base:
            return known[1]
        view = self._over(index, None)
        self._views[index] = base, view
        return view

    def _over(self, index: int, owner: np.ndarray | None) -> np.ndarray:
        """Return a tensor as a read-only array over its memory, which keeps an owner alive."""
        spec: TensorSpec = self.program.tensors[index]
        dtype = np.dtype(spec.dtype)
        shape = self.shape(index)
        steps = tuple(self.value(slot) * dtype.itemsize for slot in spec.strides)
        if 0 in shape:
            return np.empty(shape, dtype)
        address = int(self.bases[spec.buffer]) + self.value(spec.offset)
        return memory_view(address, shape, dtype, steps, owner)

    def copy(self, index: int) -> Any:
        """Return a tensor or an object as the caller's own."""
        return copied(self.as_given(index))

    def taken(self, index: int, is_last: bool) -> Any:
        """Return a value as the caller's own, which is not needed any more if it is the last."""
        if not self.lies_with_host(index):
            return self.copy(index)
        objects, buffer = self.objects, self.program.tensors[index].buffer
        return given_away(objects.pop(buffer, None)) if is_last else copied(objects.get(buffer))
