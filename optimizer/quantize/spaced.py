"""Weights that had 4 bits before: blocks of evenly spaced numbers, found again without an error.

Files of 4 bits (Q4_0 and Q4_1 of GGUF, tables of HQQ) are often read as float32. Each block then
has at most 16 different numbers, ``low + k * scale``. ``low`` need be no multiple of ``scale``, so
zero points, which are whole numbers in ONNX, leave an *offset* for each block.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from .scales import LEAST_SCALE, LEVELS

_TOLERANCE = 0.02
"""Of a scale: what float16 leaves of the 15 steps of a block. Blocks of any other weights would
have to keep to it by chance, each number with one of 25."""
_FIRST = 64
"""Blocks that tell, for nearly all other weights, that they are none of these."""


@dataclass(frozen=True)
class Spaced:
    """Weights ``(integers - zeros) * scales + offsets``.

    Attributes
    ----------
    integers : ndarray of uint8, shape (outputs, summed)
    scales, offsets : ndarray of float32, shape (outputs, blocks)
    zeros : ndarray of uint8, shape (outputs, blocks)
    """

    integers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray
    offsets: np.ndarray

    @property
    def has_offsets(self) -> bool:
        """Whether some offset is more than a rounding error."""
        return bool((np.abs(self.offsets) > _TOLERANCE * self.scales).any())


def spaced(weights: np.ndarray, block: int) -> Spaced | None:
    """Return weights as blocks of evenly spaced numbers; None if one block is none such.

    Parameters
    ----------
    weights : ndarray of float32, shape (outputs, summed)
    block : int
        Weights of a row, side by side.
    """
    outputs, summed = weights.shape
    if summed % block:
        return None
    blocks = weights.reshape(-1, block)
    if _steps(blocks[:_FIRST]) is None or (found := _steps(blocks)) is None:
        return None
    low, steps, places = found
    scales = np.where(steps > 0, (blocks.max(-1) - low) / np.maximum(steps, 1), np.abs(low))
    scales = np.where(scales >= LEAST_SCALE, scales, 1).astype(np.float32)
    # A block of numbers of one sign is moved, so that zero is near.
    room = LEVELS - steps
    shift = np.clip(np.rint(low / scales), 0, room)
    zeros = np.clip(np.rint(-low / scales), 0, LEVELS)
    offsets = low + (zeros - shift) * scales
    shape = (outputs, summed // block)
    return Spaced(
        (places + shift[:, None]).astype(np.uint8).reshape(weights.shape),
        scales.reshape(shape),
        zeros.astype(np.uint8).reshape(shape),
        offsets.astype(np.float32).reshape(shape),
    )


def _steps(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Least number of each block, steps from it to the largest, and steps to each; None if none.

    Steps that zero is one of, which need no offset, come before others.
    """
    low, high = blocks.min(-1), blocks.max(-1)
    steps = np.zeros(len(blocks), np.float32)
    places = np.zeros(blocks.shape, np.float32)
    left = np.flatnonzero(high > low)
    for has_zero, count in itertools.product((True, False), range(LEVELS, 0, -1)):
        scales = (high[left] - low[left]) / np.float32(count)
        zeros = low[left] / scales
        near_zero = np.abs(zeros - np.clip(np.rint(zeros), -LEVELS, LEVELS - count)) < _TOLERANCE
        taken = near_zero if has_zero else np.full(len(left), True)
        some = left[taken]
        ratios = (blocks[some] - low[some, None]) / scales[taken, None]
        near = np.rint(ratios)
        fits = (np.abs(ratios - near) < _TOLERANCE).all(-1)
        steps[some[fits]], places[some[fits]] = count, near[fits]
        taken[taken] = fits
        left = left[~taken]
    return None if len(left) else (low, steps, places)
