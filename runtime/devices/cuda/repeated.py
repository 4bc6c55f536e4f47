"""Runs that come again: programs that the GPU runs alone, with arrays that lie where they did.

Nothing of their steps is looked at: what queues them all is found by the addresses of inputs and
outputs. That is what a run costs the host beside its copies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ....kernels.record import address_of
from ...program import Program
from .arrays import Place
from .binding import CudaBinding
from .driver import Copy


class Found(NamedTuple):
    """A run that was found.

    Attributes
    ----------
    queue : callable
        Queues all its steps.
    to_device, before, after : list of Copy
        Copies from the host, and within the GPU before and behind the steps.
    sources : dict of int to int
        Where outputs lie on the GPU that are copied to the host, by their numbers.
    """

    queue: Callable[[], None]
    to_device: list[tuple[int, Copy]]
    before: list[Copy]
    after: list[Copy]
    sources: dict[int, int]


class RepeatedRuns:
    """What queues the runs of a context, by the addresses of its arrays.

    Parameters
    ----------
    program : Program
        All of whose steps the GPU runs, and all of whose inputs and outputs are arrays.
    binding : CudaBinding

    Attributes
    ----------
    inputs : tuple of int
        Buffers of the inputs.
    """

    def __init__(self, program: Program, binding: CudaBinding) -> None:
        self._binding, self._count = binding, len(program.steps)
        tensors = program.tensors
        self.inputs = tuple(tensors[port.tensor].buffer for port in program.inputs)
        self._ports = [*self.inputs, *(tensors[port.tensor].buffer for port in program.outputs)]
        self._runs: dict[tuple[Any, ...], Callable[[], None]] = {}
        self._version = -1

    def note(self, left_out: frozenset[int]) -> None:
        """Remember the run that was just made, if all its steps are queued at once."""
        binding = self._binding
        queue = binding.captured(0, self._count, left_out)
        if queue is None:
            return
        if self._version != binding.version:
            self._runs.clear()
            self._version = binding.version
        self._runs[(*binding.device_bases[self._ports].tolist(), bool(left_out))] = queue

    def find(
        self,
        arrays: Sequence[np.ndarray],
        places: Mapping[int, Place],
        written: Mapping[int, Place],
        left_out: frozenset[int],
    ) -> Found | None:
        """Return a run with these arrays, and the copies that it needs.

        Parameters
        ----------
        arrays : sequence of ndarray
            The inputs.
        places : mapping of int to Place
            Where some of them lie on the GPU, by their ``id``.
        written : mapping of int to Place
            Where outputs are to lie that stay on the GPU, by their numbers.
        left_out : frozenset of int
            Steps that the run leaves out.
        """
        binding = self._binding
        if not self._runs or self._version != binding.version:
            return None
        addresses: list[int] = []
        to_device: list[tuple[int, Copy]] = []
        before: list[Copy] = []
        after: list[Copy] = []
        for buffer, array in zip(self.inputs, arrays, strict=True):
            place = places.get(id(array))
            stays = place is not None and binding.stays(buffer, place.address)
            if stays is None:
                return None
            if place is not None and stays:
                addresses.append(place.address)
                continue
            own, size = binding.own_address(buffer, array.nbytes), array.nbytes
            addresses.append(own)
            if place is not None:
                before.append(Copy(own, place.address, size))
            elif size:
                to_device.append((buffer, Copy(own, address_of(array), size)))
        sources: dict[int, int] = {}
        for index, buffer, shape, dtype in binding.outputs:
            place = written.get(index)
            stays = place is not None and binding.stays(buffer, place.address)
            if stays is None:
                return None
            if place is not None and stays:
                addresses.append(place.address)
                continue
            size = math.prod(shape) * np.dtype(dtype).itemsize
            own = binding.own_address(buffer, size)
            addresses.append(own)
            if place is None:
                sources[index] = own
            else:
                after.append(Copy(place.address, own, size))
        queue = self._runs.get((*addresses, bool(left_out)))
        return None if queue is None else Found(queue, to_device, before, after, sources)
