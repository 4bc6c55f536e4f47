"""Limits on the sizes of a program: what no binding may go beyond. Errors name the node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..kernels.abi import (
    ADDRESS,
    ADDRESS_SPACE,
    BUFFER_PHASE,
    BUFFER_SIZE,
    CODE_STEP,
    OVERFLOW,
    PATCH_KIND,
    PATCH_OFFSET,
    PATCH_SOURCE,
    UNKNOWN,
    VALUE,
)
from .program import HostStep, Program, Step, TensorSpec

_MOST_ELEMENTS = 2.0**46


class Limits:
    """What holds of all sizes, of those of a phase once they are known.

    Parameters
    ----------
    program : Program
    phases : int
        Number of phases.
    """

    def __init__(self, program: Program, phases: int) -> None:
        self._program = program
        tensors = [i for i, spec in enumerate(program.tensors) if spec.dtype != "object"]
        groups = _by_phase(tensors, [program.tensors[i].phase for i in tensors], phases)
        self._tensors = [_sizes_of(program, group) for group in groups]
        buffers = program.buffers
        slots, in_phases = (buffers[:, column].tolist() for column in (BUFFER_SIZE, BUFFER_PHASE))
        sizes = _by_phase(slots, in_phases, phases)
        self._buffers = [np.array(group, np.int64) for group in sizes]
        checks = program.checks
        self._checks = _by_phase(checks, [check.phase for check in checks], phases)
        self._needed = _needed(program)

    def check_values(self, values: np.ndarray) -> None:
        """Refuse numbers that 64 bits do not hold.

        Raises
        ------
        InvalidArgument
            Names the node that needs one.
        """
        beyond = self._needed[values[self._needed] == OVERFLOW]
        if beyond.size:
            self._refuse(values, beyond, "a size, an offset or a stride of 2**62 or more")

    def check_phase(self, values: np.ndarray, phase: int) -> bool:
        """Refuse sizes that do not fit one another, and tensors and buffers that no memory holds.

        Returns
        -------
        bool
            A tensor has no elements.

        Raises
        ------
        InvalidArgument
            Names the node, the tensor and the inputs' shapes.
        """
        for check in self._checks[phase]:
            left, right = int(values[check.left]), int(values[check.right])
            if left != right and not (check.broadcast and left == 1):
                raise InvalidArgument(f"{check.message}: {left} and {right}")
        has_empty = self._check_tensors(values, phase)
        sizes = values[self._buffers[phase]]
        if sizes.size and sizes.max() > ADDRESS_SPACE:
            what = f"{sizes.max()} bytes, more than can be addressed"
            self._refuse(values, self._buffers[phase][[sizes.argmax()]], what)
        return has_empty

    def _check_tensors(self, values: np.ndarray, phase: int) -> bool:
        tensors, slots = self._tensors[phase]
        sizes = values[slots]
        if not sizes.size:
            return False
        counts = np.multiply.reduce(sizes, 1, np.float64)
        least = np.minimum.reduce(sizes, None)
        if least >= 0 and np.maximum.reduce(counts) <= _MOST_ELEMENTS:
            return bool(least == 0)
        negative = (sizes < 0).any(1)
        wrong = negative | (counts > _MOST_ELEMENTS)
        labels = {row: self._label(tensors[row]) for row in np.flatnonzero(wrong).tolist()}
        node = next(iter(labels.values()))
        # Steps of a node write its result last; others are wrong since it is.
        row = max(row for row, label in labels.items() if label == node)
        index = int(tensors[row])
        reason = f"more than {_MOST_ELEMENTS:.0f} elements"
        if negative[row]:
            is_early = (sizes[row] == UNKNOWN).any()
            reason = "a size that is not known yet" if is_early else "a negative size"
        raise InvalidArgument(
            f"{node}the shape {self._shape(values, index)} of "
            f"{self._program.tensors[index].name!r} has {reason}; {self._inputs(values)}"
        )

    def _label(self, index: int) -> str:
        """Begin of a message with what the step that writes a tensor says of itself, if any."""
        writer = next((step for step in self._program.steps if index in step.outputs), None)
        return "" if writer is None else f"{writer.label}: "

    def _refuse(self, values: np.ndarray, slots: np.ndarray, what: str) -> None:
        """Refuse sizes in slots, by the step that writes a tensor of such a size, or needs one."""
        program = self._program
        number = int(program.code[slots[0], CODE_STEP])
        steps: Sequence[Step | HostStep] = program.steps
        if number < 0:
            steps, number = program.host_steps, -1 - number
        wrong = set(slots.tolist())
        writers = [
            step
            for step in program.steps
            if any(wrong & _slots_of(program.tensors[index]) for index in step.outputs)
        ]
        # What only outputs need comes after the last step.
        nodes = [step.label for step in (writers or steps[number:] or steps[-1:])[:1]]
        raise InvalidArgument(
            f"{' '.join(nodes) or 'an output'} needs {what}; {self._inputs(values)}"
        )

    def _shape(self, values: np.ndarray, index: int) -> list[int]:
        return [int(values[slot]) for slot in self._program.tensors[index].shape]

    def _inputs(self, values: np.ndarray) -> str:
        shapes = {
            port.name: self._shape(values, port.tensor)
            for port in self._program.inputs
            if port.dims is not None
        }
        return f"the inputs have the shapes {shapes}"


def _by_phase(items: Sequence[Any], phases: Sequence[int], count: int) -> list[list[Any]]:
    """Return the items of each of so many phases."""
    groups: list[list[Any]] = [[] for _ in range(count)]
    for item, phase in zip(items, phases, strict=True):
        groups[phase].append(item)
    return groups


def _sizes_of(program: Program, tensors: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return tensors of different shapes, and the slots of their sizes, a row each.

    Rows are filled up with -1, where a binding keeps the number 1. A decoder has as many tensors as
    layers for each shape, and new sizes for each token.
    """
    first: dict[tuple[int, ...], int] = {}
    for index in tensors:
        first.setdefault(tuple(program.tensors[index].shape), index)
    shapes, tensors = list(first), list(first.values())
    rank = max(map(len, shapes), default=0)
    rows = [[*shape, *[-1] * (rank - len(shape))] for shape in shapes]
    return np.array(tensors, np.int64), np.array(rows, np.int64).reshape(len(tensors), rank)


def _slots_of(spec: TensorSpec) -> set[int]:
    return {spec.offset, *spec.shape, *spec.strides}


def _needed(program: Program) -> np.ndarray:
    """Return the slots that anything but the cost of a step is made of."""
    patches = program.patches
    tensors = [slot for spec in program.tensors for slot in _slots_of(spec)]
    checks = [slot for check in program.checks for slot in (check.left, check.right)]
    values = patches[patches[:, PATCH_KIND] == VALUE, PATCH_SOURCE]
    offsets = patches[patches[:, PATCH_KIND] == ADDRESS, PATCH_OFFSET]
    sizes = program.buffers[:, BUFFER_SIZE]
    return np.unique(np.concatenate([tensors, checks, values, offsets, sizes]).astype(np.int64))
