"""Weights as integers: 8 bits for each output channel, or few bits in blocks."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import ml_dtypes
import numpy as np

from .half_quadratic import whole_zeros
from .scales import LEAST_SCALE, LEVELS, half_scales

MOST = 127
_MOST_BIAS = 2**30
_BIAS_STEPS = 2**16


def by_channel(
    weights: np.ndarray, axis: int, bias: np.ndarray | None = None, input_scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Quantize weights symmetrically, each channel by its largest magnitude.

    Parameters
    ----------
    weights : ndarray of float32
    axis : int
        Of the channels.
    bias : ndarray, shape (channels,), optional
        What is added to the sums, in units of input scale times weight scale: scales are such that
        it fits 32 bits, and is not rounded coarsely where a channel's weights are zero.
    input_scale : float

    Returns
    -------
    integers : ndarray of int8
    scales : ndarray of float32, shape (channels,)
    """
    others = tuple(i for i in range(weights.ndim) if i != axis)
    largest = np.abs(weights).max(axis=others, initial=0.0).astype(np.float64)
    scales = largest / MOST
    if bias is not None:
        sizes = np.abs(bias.astype(np.float64)) / input_scale
        scales = np.maximum(scales, sizes / _MOST_BIAS)
        scales = np.where(largest > 0, scales, sizes / _BIAS_STEPS)
    narrow = np.where(scales >= LEAST_SCALE, scales, 1.0).astype(np.float32)
    shape = [1] * weights.ndim
    shape[axis] = -1
    return _rounded(weights / narrow.reshape(shape), -MOST, MOST).astype(np.int8), narrow


def _rounded(numbers: np.ndarray, low: int, high: int) -> np.ndarray:
    clipped: np.ndarray = np.clip(np.rint(numbers), low, high)
    return clipped


@dataclass(frozen=True)
class Blocks:
    """Integers of 4 bits, each block along an axis with a scale and a zero point.

    Attributes
    ----------
    integers : ndarray of uint4
        In the shape of the weights.
    scales : ndarray of float32
        Blocks of the axis in place of its places.
    zeros : ndarray of uint4
        As ``scales``.
    """

    integers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray


def widened(found: Blocks, block: int) -> np.ndarray:
    """Numbers that integers (outputs, summed) in blocks stand for."""
    integers = found.integers.astype(np.float32)
    scales, zeros = (
        np.repeat(part.astype(np.float32), block, 1)[:, : integers.shape[1]]
        for part in (found.scales, found.zeros)
    )
    numbers: np.ndarray = (integers - zeros) * scales
    return numbers


_SHRINKS = (1.0, 0.925, 0.85, 0.775, 0.7)


def in_blocks(
    weights: np.ndarray,
    axis: int,
    block: int,
    method: str = "nearest",
    importance: np.ndarray | None = None,
) -> Blocks:
    """Quantize weights to 4 bits in blocks.

    Parameters
    ----------
    weights : ndarray of float32
    axis : int
        Along which blocks lie; the last block may be shorter.
    block : int
    method : {"nearest", "mse", "hqq"}
        ``"nearest"``: the range of a block is from its least to its largest weight. ``"mse"``: it
        is smaller on each side, up to 0.7 of that, where the squared error of the block then is.
        ``"hqq"``: scales and zero points are sought from ``"nearest"`` on
        (`half_quadratic.whole_zeros`).
    importance : ndarray, optional
        What the squared error of each place along the axis counts, for ``"mse"``.
    """
    moved = np.moveaxis(weights, axis, -1)
    length = moved.shape[-1]
    padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, -length % block)])
    blocks = padded.reshape(*moved.shape[:-1], -1, block).astype(np.float32)
    low = np.minimum(blocks.min(-1, keepdims=True), 0)
    high = np.maximum(blocks.max(-1, keepdims=True), 0)
    scales, zeros = _grids(low, high)
    if method == "mse":
        counts = np.ones(length) if importance is None else importance
        counted = np.pad(counts, (0, -length % block)).reshape(-1, block).astype(np.float32)
        least = _errors(blocks, scales, zeros, counted)
        for pair in itertools.product(_SHRINKS, repeat=2):
            tried = _grids(low * np.float32(pair[0]), high * np.float32(pair[1]))
            errors = _errors(blocks, *tried, counted)
            scales = np.where(errors < least, tried[0], scales)
            zeros = np.where(errors < least, tried[1], zeros)
            least = np.minimum(errors, least)
    if method == "hqq":
        scales, zeros = whole_zeros(blocks, scales, zeros)
    integers = _rounded(blocks / scales + zeros, 0, LEVELS)
    whole = integers.reshape(padded.shape)[..., :length]
    return Blocks(
        np.moveaxis(whole, -1, axis).astype(ml_dtypes.uint4),
        np.moveaxis(scales[..., 0], -1, axis),
        np.moveaxis(zeros[..., 0], -1, axis).astype(ml_dtypes.uint4),
    )


def _grids(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scales and zero points of ranges, which hold zero."""
    scales = half_scales((high.astype(np.float64) - low) / LEVELS)
    return scales, np.rint(-low / scales)


def _errors(
    blocks: np.ndarray, scales: np.ndarray, zeros: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Squared error of each block, each place of which counts so much."""
    integers = _rounded(blocks / scales + zeros, 0, LEVELS)
    squares = np.square((integers - zeros) * scales - blocks, dtype=np.float64)
    errors: np.ndarray = (squares * counted).sum(-1, keepdims=True)
    return errors
