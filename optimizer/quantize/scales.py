"""Scales of blocks of 4 bits: which numbers they may be."""

from __future__ import annotations

import numpy as np

LEAST_SCALE = float(np.finfo(np.float32).tiny)
LEVELS = 15
"""The largest integer of 4 bits."""


def half_scales(scales: np.ndarray) -> np.ndarray:
    """Round scales to numbers of float16, but for very small or large ones.

    A runtime may keep half of their bytes, a tenth of those of weights in blocks of 32, and they
    are precise enough. A scale that is too small, or NaN, becomes 1.
    """
    scales = np.where(scales >= LEAST_SCALE, scales, 1.0).astype(np.float32)
    with np.errstate(over="ignore"):
        halves = scales.astype(np.float16).astype(np.float32)
    limits = np.finfo(np.float16)
    is_usual = (scales >= limits.smallest_normal) & (scales <= limits.max)
    found: np.ndarray = np.where(is_usual, halves, scales)
    return found
