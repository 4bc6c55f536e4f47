"""Positions and weights of resampling, as plain functions that compilers of all devices take."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

COORDINATES = (
    "half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric",
    "tf_half_pixel_for_nn", "tf_crop_and_resize",
)  # fmt: skip
ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
_ASYMMETRIC, CORNERS, _PYTORCH, _SYMMETRIC, _TF_HALF, _CROP = range(1, 7)
_HALF = np.float32(0.5)


def positions_in(number: Any) -> Callable[..., Any]:
    """Return a function that computes positions in a type of floats."""

    def original_position(
        i: int, n_in: int, n_out: int, scale: Any, coordinates: int, begin: Any, end: Any
    ) -> Any:
        """Position in the input of output position i."""
        at = number(i)
        half = number(0.5)
        if coordinates == _CROP:
            last = number(n_in - 1)
            if n_out == 1:
                return half * (begin + end) * last
            return begin * last + at * (end - begin) * last / number(n_out - 1)
        if scale == number(1.0):
            return at
        if coordinates == _ASYMMETRIC:
            return at / scale
        if coordinates == CORNERS:
            return number(0.0) if n_out == 1 else at * number(n_in - 1) / number(n_out - 1)
        if coordinates == _PYTORCH and n_out == 1:
            return number(0.0)
        if coordinates == _TF_HALF:
            return (at + half) / scale
        position = (at + half) / scale - half
        if coordinates == _SYMMETRIC:
            adjustment = number(n_out) / (scale * number(n_in))
            position += number(n_in) * half * (number(1.0) - adjustment)
        return position

    return original_position


def round_position(at: Any, rounding: int) -> Any:
    """Position rounded as an index into ``ROUNDINGS`` says."""
    if rounding == 2:
        return math.floor(at)
    if rounding == 3:
        return math.ceil(at)
    low = math.floor(at)
    if at - low == _HALF:
        return low if rounding == 0 else low + 1
    return math.floor(at + _HALF)


def cubic_weight(t: Any, a: Any) -> Any:
    """Keys' cubic convolution kernel at distance t."""
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
