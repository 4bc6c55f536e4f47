"""Where the contents of buffers are, and which copies a step needs before it runs.

A buffer lies at one place in the memory of the host and at one in that of the GPU. What a step
reads, or changes a part of, has to be where it runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ....kernels.abi import (
    ADDRESS,
    ARENA,
    BUFFER_KIND,
    HOST,
    INPUT,
    PATCH_KIND,
    PATCH_SOURCE,
    PATCH_WORD,
    RECORD,
    WEIGHTS,
)
from ...program import Program

NOWHERE, AT_HOST, AT_DEVICE, AT_BOTH = range(4)
"""Where the contents of a buffer are: sums of places."""


class Uses(NamedTuple):
    """Buffers that a step reads, or changes a part of, and those that it writes."""

    read: tuple[int, ...]
    written: tuple[int, ...]


NO_USES = Uses((), ())
"""Of a step that a run leaves out."""


def uses_of_steps(program: Program) -> list[Uses]:
    """Return the buffers of each step: those whose addresses its record has, or one it points to.

    A record ends where the next one begins.
    """
    addressed: dict[int, int] = {}
    records: dict[int, int] = {}
    for patch in program.patches:
        kind, word = patch[PATCH_KIND], int(patch[PATCH_WORD])
        if kind == ADDRESS:
            addressed[word] = int(patch[PATCH_SOURCE])
        elif kind == RECORD:
            records[word] = int(patch[PATCH_SOURCE])
    starts = sorted({*records.values(), *(step.record for step in program.steps)})
    ends = dict(itertools.pairwise([*starts, len(program.words)]))

    def buffers(record: int, end: int) -> set[int]:
        found = set()
        for word in range(record, end):
            if word in addressed:
                found.add(addressed[word])
            if word in records:
                inner = records[word]
                found |= buffers(inner, ends[inner])
        return found

    used = [buffers(step.record, ends[step.record]) for step in program.steps]
    outputs = [{program.tensors[t].buffer for t in step.outputs} for step in program.steps]
    # Working memory that no step declares, and that of steps of control flow, may be written by
    # whatever uses it.
    arena = set(np.flatnonzero(program.buffers[:, BUFFER_KIND] == ARENA).tolist())
    undeclared = arena.difference(*outputs)
    return [
        Uses(
            tuple(sorted(own)),
            tuple(sorted(own & (undeclared if declared else arena) | declared)),
        )
        for own, declared in zip(used, outputs, strict=True)
    ]


class Residency:
    """Where the contents of a program's buffers are in a run.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        kinds = program.buffers[:, BUFFER_KIND]
        self._first = np.full(len(kinds), NOWHERE)
        self._first[(kinds == INPUT) | (kinds == HOST)] = AT_HOST
        self._first[kinds == WEIGHTS] = AT_BOTH
        self._places: list[int] = self._first.tolist()

    def begin(self, kept: Sequence[int] = ()) -> None:
        """Begin a run: inputs lie with the host, other contents are to be written yet.

        Those of ``kept`` buffers are where the last run has left them.
        """
        before, self._places = self._places, self._first.tolist()
        for buffer in kept:
            self._places[buffer] = before[buffer]

    def missing(self, buffers: tuple[int, ...], place: int) -> list[int]:
        """Return those of some buffers whose contents are elsewhere: the copies are to be made."""
        found = [b for b in buffers if self._places[b] and not self._places[b] & place]
        for buffer in found:
            self._places[buffer] |= place
        return found

    def take_back(self, buffers: list[int], place: int) -> None:
        """Note that copies to a place, which `missing` has asked for, are not made after all."""
        for buffer in buffers:
            self._places[buffer] &= ~place

    def written(self, buffers: tuple[int, ...], place: int) -> None:
        """Note that a step at a place writes buffers."""
        for buffer in buffers:
            self._places[buffer] = place
