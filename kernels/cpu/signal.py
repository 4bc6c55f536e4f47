"""Windows made of cosines, and weights of mel filters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import INVALID_NUMBER, Pointer, kernel_factory

_CASTS = {"f32": np.float32, "f64": np.float64}


@kernel_factory
def cosine_window(dtype: str) -> Callable[..., int]:
    """y[i] = a - b cos(2 pi i / period) + c cos(4 pi i / period), for ``count`` of f32 or f64."""
    store, cast = getattr(simd, f"store_{dtype}"), _CASTS[dtype]

    def body(
        thread: int, part: int, until: int, parts: int,
        y: Pointer, count: int, period: int, a: float, b: float, c: float,
    ) -> int:  # fmt: skip
        for i in range(count * part // parts, count * until // parts):
            angle = 2.0 * math.pi * i / np.float64(period)
            store(y, i, cast(a - b * math.cos(angle) + c * math.cos(2.0 * angle)))
        return 0

    return body


@njit
def _mel(frequency: Any) -> Any:
    return 2595.0 * math.log10(1.0 + frequency / 700.0)


@njit
def _bin(number: int, filters: int, low: Any, high: Any, length: int, rate: int) -> Any:
    """Bin of the spectrum at which filter ``number`` begins, -1 for none that an array has."""
    step = (high - low) / (filters + 2)
    frequency = 700.0 * (10.0 ** ((low + number * step) / 2595.0) - 1.0)
    at = np.floor((length + 1) * frequency / rate) if rate != 0 else np.inf
    return np.int64(at) if abs(at) < 2.0**46 else -1


@kernel_factory
def mel_weights(dtype: str) -> Callable[..., int]:
    """y[bin, filter]: triangles that begin at one mel bin, are 1 at the next and end at the third.

    ``edges`` are the lowest and the highest frequency, f32; ``length`` and ``rate`` those of the
    transform and of the samples. Filters are split into parts. Error 4 of bins that the spectrum
    has not.
    """
    store, cast = getattr(simd, f"store_{dtype}"), _CASTS[dtype]

    def body(
        thread: int, part: int, until: int, parts: int,
        y: Pointer, lower: Pointer, upper: Pointer, bins: int, filters: int, length: int, rate: int,
    ) -> int:  # fmt: skip
        low = _mel(np.float64(simd.load_f32(lower, 0)))
        high = _mel(np.float64(simd.load_f32(upper, 0)))
        for i in range(filters * part // parts, filters * until // parts):
            left = _bin(i, filters, low, high, length, rate)
            center = _bin(i + 1, filters, low, high, length, rate)
            right = _bin(i + 2, filters, low, high, length, rate)
            if not (0 <= left <= center <= right and center < bins and right <= bins):
                return INVALID_NUMBER
            for j in range(bins):
                value = 0.0
                if left <= j < center:
                    value = (j - left) / (center - left)
                elif center < j < right:
                    value = (right - j) / (right - center)
                elif j == center:
                    value = 1.0
                store(y, j * filters + i, cast(value))
        return 0

    return body
