"""Positions and weights of one axis that is resized, of one position of the output."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..resampling import cubic_weight, positions_in, round_position
from .functions import device_function

F = np.float32
position_of = device_function("float32")(positions_in(F))
rounded = device_function("int64")(round_position)
keys_cubic = device_function()(cubic_weight)


@device_function("float32")
def scale_of(ratio: Any, n_in: Any, n_out: Any) -> Any:
    """Scale of an axis; a ratio of 0 stands for out / in."""
    return F(ratio) if ratio != 0 else F(n_out) / F(max(n_in, 1))


@device_function("int64")
def inside(position: Any, n: Any) -> Any:
    """Nearest position that there is."""
    return min(max(position, 0), n - 1)


@device_function("float32")
def linear_part(at: Any, n_in: Any) -> Any:
    """Weight of the second of two positions."""
    low = min(max(at, F(0)), F(n_in - 1))
    return low - F(np.int64(low))


@device_function("int64")
def first_tap(at: Any, n_in: Any, taps: Any) -> Any:
    """Position of the first of ``taps`` elements that a position is between."""
    if taps == 2:
        return np.int64(min(max(at, F(0)), F(n_in - 1)))
    return np.int64(math.floor(at)) - 1


@device_function("float32")
def cubic_part(at: Any, n_in: Any, tap: Any, cubic: Any, exclude_outside: Any) -> Any:
    """Weight of one of four elements, before their sum is made one."""
    position = np.int64(math.floor(at)) - 1 + tap
    if exclude_outside != 0 and (position < 0 or position >= n_in):
        return F(0)
    return F(keys_cubic(np.float64(at) - np.float64(position), np.float64(cubic)))
