"""Weights as integers: 8 bits for each output channel, or few bits in blocks."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np

MOST = 127
_MOST_BIAS = 2**30
_BIAS_STEPS = 2**16
_LEAST = float(np.finfo(np.float32).tiny)


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
    narrow = np.where(scales >= _LEAST, scales, 1.0).astype(np.float32)
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


_LEVELS = 15
_ROUNDS, _POWER, _BETA, _GROWTH = 20, 0.7, 10.0, 1.01


def in_blocks(weights: np.ndarray, axis: int, block: int, method: str = "nearest") -> Blocks:
    """Quantize weights to 4 bits in blocks, from the least to the largest of each.

    Parameters
    ----------
    weights : ndarray of float32
    axis : int
        Along which blocks lie; the last block may be shorter.
    block : int
    method : {"nearest", "hqq"}
        ``"hqq"`` moves the zero points so that few weights are far off, without data, by
        half-quadratic splitting (H. Badri and A. Shaji, "Half-Quadratic Quantization of Large
        Machine Learning Models", 2023).
    """
    moved = np.moveaxis(weights, axis, -1)
    length = moved.shape[-1]
    padding = -length % block
    padded = np.pad(moved, [(0, 0)] * (moved.ndim - 1) + [(0, padding)], mode="edge")
    blocks = padded.reshape(*moved.shape[:-1], -1, block).astype(np.float32)
    low = np.minimum(blocks.min(-1, keepdims=True), 0)
    high = np.maximum(blocks.max(-1, keepdims=True), 0)
    scales = (high - low) / _LEVELS
    scales = np.where(scales >= _LEAST, scales, 1.0).astype(np.float32)
    zeros = np.rint(-low / scales)
    if method == "hqq":
        zeros = _half_quadratic(blocks, scales, zeros)
    integers = _rounded(blocks / scales + zeros, 0, _LEVELS)
    whole = integers.reshape(padded.shape)[..., :length]
    return Blocks(
        np.moveaxis(whole, -1, axis).astype(ml_dtypes.uint4),
        np.moveaxis(scales[..., 0], -1, axis),
        np.moveaxis(zeros[..., 0], -1, axis).astype(ml_dtypes.uint4),
    )


def _half_quadratic(blocks: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """Zero points, whole, of the least sum of errors to the power of 0.7."""

    def loss(zeros: np.ndarray) -> np.ndarray:
        errors = (_rounded(blocks / scales + zeros, 0, _LEVELS) - zeros) * scales - blocks
        total: np.ndarray = (np.abs(errors) ** _POWER).sum(-1, keepdims=True)
        return total

    best, least, beta, free = zeros, loss(zeros), _BETA, zeros
    for _ in range(_ROUNDS):
        integers = _rounded(blocks / scales + free, 0, _LEVELS)
        errors = blocks - (integers - free) * scales
        size = np.abs(errors)
        shrunk = np.maximum(size - np.maximum(size, _LEAST) ** (_POWER - 1) / beta, 0)
        free = (integers - (blocks - np.sign(errors) * shrunk) / scales).mean(-1, keepdims=True)
        whole = _rounded(free, 0, _LEVELS)
        found = loss(whole)
        best, least = np.where(found < least, whole, best), np.minimum(found, least)
        beta *= _GROWTH
    return best
