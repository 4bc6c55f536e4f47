"""Binding of a program whose buffers lie in the memory of a GPU, too.

Sizes, plan of memory and records of the CPU's steps are those of any binding. A buffer has the same
place in an arena on the GPU; inputs, outputs and results of host steps have memory of their own
there, which stays where it is as long as it suffices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ....kernels.abi import (
    ADDRESS,
    ARENA,
    BUFFER_SIZE,
    INPUT,
    PATCH_KIND,
    PATCH_OFFSET,
    PATCH_SOURCE,
    PATCH_WORD,
    RECORD,
    VALUE,
    WEIGHTS,
)
from ....kernels.cuda.kernel import CudaKernel
from ....kernels.record import address_of
from ...binding import Binding
from ...executable import Executable
from .arrays import Place
from .driver import ALIGNMENT, Copy, Driver, Memory, PinnedWords
from .placement import UNMADE, Placement

_WORD = 8
_VECTOR = 16
"""Bytes that kernels load at a time, to which what they read has to be aligned."""
_MOST_ADDRESSES = 4
"""Addresses of a given array that launches are kept for; arrays at others are copied."""
_MOST_PLACEMENTS = 8
_MOST_MAPS = 2
"""Tensor maps of a step."""


class CudaBinding(Binding):
    """Tables of one run at a time; see the module's text.

    Parameters
    ----------
    executable : Executable
    threads : int
    driver : Driver
    kernels : list of CudaKernel or None
        By the program's numbers; None for those of the CPU.
    loaded : list
        What the driver has loaded of these kernels.
    weights : Memory
        The program's weights on the GPU.

    Attributes
    ----------
    places : mapping of int to Place
        Where arrays of the run lie on the GPU already, by their ``id``.
    copies_out : list of Copy
        What is to be copied within the GPU behind a run, to where arrays of the caller lie.
    device_bases : ndarray of int64
        Address of each buffer on the GPU.
    status_words : ndarray of int64
        What the steps report: 0 or an error code for each. Kernels write into them.
    version : int
        Changes whenever launches become invalid.
    """

    def __init__(
        self,
        executable: Executable,
        threads: int,
        driver: Driver,
        kernels: list[CudaKernel | None],
        loaded: list[Any],
        weights: Memory,
    ) -> None:
        self._driver, self._kernels, self._loaded = driver, kernels, loaded
        self._device_arena, self._weights = Memory(driver), weights
        self._own: dict[int, Memory] = {}
        self._addresses: dict[int, list[int]] = {}  # those of given arrays, by buffer
        self.places: dict[int, Place] = {}
        self.copies_out: list[Copy] = []
        self._external: dict[int, int] = {}  # bytes of arrays of a run
        self._placements: dict[bytes, Placement] = {}  # the one that was used last is the last
        self._placement: Placement | None = None
        self.version = 0
        super().__init__(executable, threads)
        program = executable.program
        self.device_bases = np.zeros_like(self.bases)
        self.device_bases[: len(self._kinds)][self._kinds == WEIGHTS] = weights.address
        self._moving = np.flatnonzero((self._kinds != ARENA) & (self._kinds != WEIGHTS))
        self._status = PinnedWords(driver, max(len(program.steps), 1))
        self.status_words = self._status.words
        self._patches = executable.bind_patches
        self._plain_words = executable.words

    # --- sizes --------------------------------------------------------------------------------

    def _plan(self, phase: int) -> None:
        super()._plan(phase)
        kept = self._device_arena.size if phase else 0
        self._device_arena.reserve(self.arena.nbytes + ALIGNMENT, kept)
        members = self._arena_members[phase]
        self.device_bases[members] = self._offsets[members] + self._device_arena.address
        self._placements.clear()
        self._placement = None
        self.version += 1

    def prefault(self) -> None:
        """Leave the memory of the host alone, most of which no run touches."""

    def size_of(self, buffer: int) -> int:
        """Bytes of a buffer's contents, as bound."""
        if self._kinds[buffer] == ARENA or buffer not in self._external:
            return self.value(self.program.buffers[buffer, BUFFER_SIZE])
        return self._external[buffer]

    def is_input(self, buffer: int) -> bool:
        """Tell whether a buffer is an input, whose memory no step writes."""
        return bool(self._kinds[buffer] == INPUT)

    def host_address(self, buffer: int) -> int:
        """Address of a buffer in the memory of the process."""
        return int(self.bases[buffer])

    def attach(self, buffer: int, value: Any) -> None:
        """Let a buffer be the memory of an array, with as much memory on the GPU."""
        super().attach(buffer, value)
        if not isinstance(value, np.ndarray) or value.dtype == object:
            return
        address = self._address(buffer, value)
        if self.device_bases[buffer] != address:
            self.device_bases[buffer] = address
            self._placement = None
        self._external[buffer] = value.nbytes

    def _address(self, buffer: int, value: np.ndarray) -> int:
        """Return where an array of a run lies on the GPU, or gets a copy."""
        place = self.places.get(id(value))
        if place is not None and self.stays(buffer, place.address, is_new=True):
            return place.address
        own = self.own_address(buffer, value.nbytes)
        if place is None or not value.nbytes:
            return own
        if self._kinds[buffer] == INPUT:
            self._driver.move(own, place.address, value.nbytes)
        else:
            self.copies_out.append(Copy(place.address, own, value.nbytes))
        return own

    def own_address(self, buffer: int, size: int) -> int:
        """Return the address of memory that the binding has for an array of runs."""
        own = self._own.get(buffer)
        if own is None:
            own = self._own[buffer] = Memory(self._driver)
        own.reserve(max(size, 1))
        return own.address

    def stays(self, buffer: int, address: int, is_new: bool = False) -> bool | None:
        """Tell whether kernels take an array where it lies: others are copied.

        None: it might stay, but no run has had it; with ``is_new`` it does from now on.
        """
        known = self._addresses.setdefault(buffer, [])
        if address in known:
            return True
        if address % _VECTOR or len(known) >= _MOST_ADDRESSES:
            return False
        if not is_new:
            return None
        known.append(address)
        return True

    # --- launches -----------------------------------------------------------------------------

    def placement(self) -> Placement:
        """Return the launches for the addresses that buffers have now."""
        if self._placement is None:
            key = self.device_bases[self._moving].tobytes()
            found = self._placements.pop(key, None) or self._placed()
            if len(self._placements) >= _MOST_PLACEMENTS:
                del self._placements[next(iter(self._placements))]
            self._placements[key] = self._placement = found
        return self._placement

    def _placed(self) -> Placement:
        """Fill in the records of the steps on the GPU."""
        words, patches, values = self._plain_words.copy(), self._patches, self._values
        memory = Memory(self._driver)
        memory.reserve(max(words.nbytes, 1))
        kinds, places = patches[:, PATCH_KIND], patches[:, PATCH_WORD]
        sources = patches[:, PATCH_SOURCE]
        sized, addressed, inner = (kinds == kind for kind in (VALUE, ADDRESS, RECORD))
        words[places[sized]] = values[sources[sized]]
        offsets = values[patches[addressed, PATCH_OFFSET]]
        words[places[addressed]] = self.device_bases[sources[addressed]] + offsets
        words[places[inner]] = memory.address + _WORD * sources[inner]
        if words.nbytes:
            self._driver.to_device(Copy(memory.address, address_of(words), words.nbytes))
        steps = self.program.steps
        having = sum(getattr(self._kernels[s.kernel], "maps", None) is not None for s in steps)
        return Placement(self._driver, memory, words, len(steps), _MOST_MAPS * having)

    def queue(self, first: int, end: int, left_out: frozenset[int]) -> None:
        """Queue the launches of steps; those that are queued again are captured as one."""
        placement = self.placement()
        for step in range(first, end):
            if placement.launches[step] is UNMADE:
                placement.launches[step] = self._launch(step, placement)
        placement.queue(first, end, left_out)

    def captured(self, first: int, end: int, left_out: frozenset[int]) -> Any:
        """Return what queues steps all at once, None if they are not captured."""
        return self.placement().captured.get((first, end, left_out))

    def _launch(self, index: int, placement: Placement) -> Any:
        """Return the launch of a step; None where the CPU runs it, or there is nothing to do."""
        step = self.program.steps[index]
        kernel = self._kernels[step.kernel]
        if kernel is None or self._is_empty(step.outputs):
            return None
        own = placement.words[step.record : step.record + len(kernel.fields)].tolist()
        fields = kernel.fields_of(own)
        launch = kernel.launch(fields, self._driver.limits)
        if launch.is_empty:
            return None
        for name, tensor_map in kernel.maps(fields).items() if kernel.maps else ():
            fields = {**fields, name: placement.add_map(self._driver.encoded(tensor_map))}
        status = self._status.address + _WORD * index
        arguments = np.array([*(fields[name] for name in kernel.fields), status], np.int64)
        return self._driver.prepare(self._loaded[step.kernel], launch, arguments)

    def _is_empty(self, outputs: list[int]) -> bool:
        return bool(outputs) and all(0 in self.shape(tensor) for tensor in outputs)
