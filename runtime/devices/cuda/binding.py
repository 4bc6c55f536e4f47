"""Binding of a program whose buffers lie in the memory of a GPU, too.

Sizes, plan of memory and records of the CPU's steps are those of any binding. A buffer has the same
place in an arena on the GPU; inputs, outputs and results of host steps have memory of their own
there, which stays where it is as long as it suffices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ....kernels.abi import (
    ADDRESS,
    ARENA,
    BUFFER_SIZE,
    PATCH_KIND,
    PATCH_OFFSET,
    PATCH_SOURCE,
    PATCH_WORD,
    RECORD,
    VALUE,
    WEIGHTS,
)
from ....kernels.cuda.kernel import CudaKernel, Launch
from ....kernels.record import address_of
from ...binding import Binding
from ...executable import Executable
from .driver import ALIGNMENT, Driver, Memory

_WORD = 8
_NEVER_QUEUED = object()
_LEAST_CAPTURED = 2
"""Launches that are worth a graph."""


class Ready(NamedTuple):
    """A launch of a step: the kernel's launcher, the grid, and the arguments."""

    launcher: Any
    launch: Launch
    arguments: np.ndarray


def _queue(launches: Sequence[Ready]) -> None:
    for ready in launches:
        ready.launcher(ready.launch, ready.arguments)


class CudaBinding(Binding):
    """Tables of one run at a time; see the module's text.

    Parameters
    ----------
    executable : Executable
    threads : int
    driver : Driver
    kernels : list of CudaKernel or None
        By the program's numbers; None for those of the CPU.
    launchers : list
        Of these kernels.
    weights : Memory
        The program's weights on the GPU.

    Attributes
    ----------
    places : mapping of int to int
        Where arrays of the run lie on the GPU already, by their ``id``.
    device_bases : ndarray of int64
        Address of each buffer on the GPU.
    status_words : ndarray of int64
        What the steps report, as it was read last: 0 or an error code for each.
    """

    def __init__(
        self,
        executable: Executable,
        threads: int,
        driver: Driver,
        kernels: list[CudaKernel | None],
        launchers: list[Any],
        weights: Memory,
    ) -> None:
        self._driver, self._kernels, self._launchers = driver, kernels, launchers
        self._device_arena, self._device_words = Memory(driver), Memory(driver)
        self._weights, self._device_status = weights, Memory(driver)
        self._own: dict[int, Memory] = {}
        self.places: Mapping[int, int] = {}
        self._external: dict[int, int] = {}  # bytes of arrays of a run
        self._launches: list[Ready | None] = []
        program = executable.program
        opened = [program.stretches[index].last for index, _ in program.opened_phases()]
        self._ends = [*opened, len(program.steps)]  # of the phases, in steps
        self._captured: dict[tuple[int, int, frozenset[int]], Any] = {}  # None: queued once
        super().__init__(executable, threads)
        self.device_bases = np.zeros_like(self.bases)
        self.device_bases[: len(self._kinds)][self._kinds == WEIGHTS] = weights.address
        self.status_words = np.zeros(max(len(program.steps), 1), np.int64)
        self._device_status.reserve(self.status_words.nbytes)
        self.clear_status()
        self._patches = executable.bind_patches
        self._plain_words = executable.words
        self.is_stale = True

    # --- sizes --------------------------------------------------------------------------------

    def _plan(self, phase: int) -> None:
        super()._plan(phase)
        kept = self._device_arena.size if phase else 0
        self._device_arena.reserve(self.arena.nbytes + ALIGNMENT, kept)
        members = self._arena_members[phase]
        self.device_bases[members] = self._offsets[members] + self._device_arena.address
        self.is_stale = True

    def prefault(self) -> None:
        """Leave the memory of the host alone, most of which no run touches."""

    def size_of(self, buffer: int) -> int:
        """Bytes of a buffer's contents, as bound."""
        if self._kinds[buffer] == ARENA or buffer not in self._external:
            return self.value(self.program.buffers[buffer, BUFFER_SIZE])
        return self._external[buffer]

    def host_address(self, buffer: int) -> int:
        """Address of a buffer in the memory of the process."""
        return int(self.bases[buffer])

    def attach(self, buffer: int, value: Any) -> None:
        """Let a buffer be the memory of an array, with as much memory on the GPU."""
        super().attach(buffer, value)
        if not isinstance(value, np.ndarray) or value.dtype == object:
            return
        address = self.places.get(id(value))
        if address is None:
            own = self._own.setdefault(buffer, Memory(self._driver))
            own.reserve(max(value.nbytes, 1))
            address = own.address
        if self.device_bases[buffer] != address:
            self.device_bases[buffer] = address
            self.is_stale = True
        self._external[buffer] = value.nbytes

    # --- launches -----------------------------------------------------------------------------

    def make_launches(self) -> None:
        """Fill in the records of the steps on the GPU, and their launches."""
        words, patches, values = self._plain_words.copy(), self._patches, self._values
        self._device_words.reserve(max(words.nbytes, 1))
        kinds, places = patches[:, PATCH_KIND], patches[:, PATCH_WORD]
        sources = patches[:, PATCH_SOURCE]
        sized, addressed, inner = (kinds == kind for kind in (VALUE, ADDRESS, RECORD))
        words[places[sized]] = values[sources[sized]]
        offsets = values[patches[addressed, PATCH_OFFSET]]
        words[places[addressed]] = self.device_bases[sources[addressed]] + offsets
        words[places[inner]] = self._device_words.address + _WORD * sources[inner]
        self._driver.to_device(self._device_words.address, address_of(words), words.nbytes)
        # Records of phases that have not begun are of sizes that nobody knows yet.
        end = self._ends[max(self._entered - 1, 0)]
        self._launches = [self._launch(index, words) for index in range(end)]
        self._captured.clear()
        self.is_stale = False

    def queue(self, first: int, end: int, left_out: frozenset[int]) -> None:
        """Queue the launches of steps; those that are queued again are captured as one."""
        key = first, end, left_out
        captured = self._captured.get(key, _NEVER_QUEUED)
        if captured is _NEVER_QUEUED or captured is None:
            wanted = (self._launches[step] for step in range(first, end) if step not in left_out)
            launches = [ready for ready in wanted if ready is not None]
            self._captured[key] = None
            if captured is _NEVER_QUEUED or len(launches) < _LEAST_CAPTURED:
                _queue(launches)
                return
            captured = self._driver.capture(partial(_queue, launches))
            self._captured[key] = captured
        captured()

    def _launch(self, index: int, words: np.ndarray) -> Ready | None:
        """Return the launch of a step; None where the CPU runs it, or there is nothing to do."""
        step = self.program.steps[index]
        kernel = self._kernels[step.kernel]
        if kernel is None or self._is_empty(step.outputs):
            return None
        own = words[step.record : step.record + len(kernel.fields)].tolist()
        fields = kernel.fields_of(own)
        launch = kernel.launch(fields, self._driver.limits)
        if launch.is_empty:
            return None
        status = self._device_status.address + _WORD * index
        arguments = np.array([*(fields[name] for name in kernel.fields), status], np.int64)
        return Ready(self._launchers[step.kernel], launch, arguments)

    def _is_empty(self, outputs: list[int]) -> bool:
        return bool(outputs) and all(0 in self.shape(tensor) for tensor in outputs)

    # --- status -------------------------------------------------------------------------------

    def clear_status(self) -> None:
        """Forget what the steps have reported."""
        self.status_words[:] = 0
        self._driver.to_device(
            self._device_status.address, address_of(self.status_words), self.status_words.nbytes
        )

    def read_status(self) -> bool:
        """Read what the steps report; tells whether one has failed."""
        words = self.status_words
        self._driver.to_host(address_of(words), self._device_status.address, words.nbytes)
        return bool(words.any())
