"""Words of records that say what whole sums become (`fields.Scaled`), at positions that differ.

A record's positions, ``at``, are those of its fields (`fields.positions`): of a tile, or of the
transform of Winograd's sums.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..fields import Scaled
from ..registry import Pointer
from ..simd import store_f64, store_i64
from .quads import limits


@njit
def store_bytes(words: Pointer, at: Any, scaled: Scaled, y: Pointer) -> None:
    """Store where bytes go that sums become which would lie at ``y``, and their limits."""
    zero, low, high = limits(scaled.zero, scaled.is_signed, scaled.least, scaled.most)
    store_f64(words, at.low, np.float64(low))
    store_f64(words, at.high, np.float64(high))
    store_i64(words, at.zero, zero)
    store_i64(words, at.target, scaled.target - (y >> 2))
    store_i64(words, at.other, scaled.other - (y >> 2))
    store_i64(words, at.addition, scaled.addition)


@njit
def store_channels(words: Pointer, at: Any, scaled: Scaled, bytes_before: int) -> None:
    """Store where numbers of channels lie, from one on that has so many bytes before it."""
    store_i64(words, at.scales, scaled.scales + bytes_before)
    store_i64(words, at.shifts, scaled.shifts + bytes_before if scaled.shifts != 0 else 0)
