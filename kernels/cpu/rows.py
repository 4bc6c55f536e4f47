"""Copies of rows of channels-last images together with their padding."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..registry import Pointer
from ..simd import load_f32, splat, store_f32, vload, vstore
from ..target import LANES


@njit
def copy_floats(source: Pointer, target: Pointer, count: int) -> None:
    """Copy contiguous float32."""
    i = 0
    while i + LANES <= count:
        vstore(target, i, vload(source, i))
        i += LANES
    while i < count:
        store_f32(target, i, load_f32(source, i))
        i += 1


@njit
def zero_floats(target: Pointer, count: int) -> None:
    """Set contiguous float32 to zero."""
    fill_floats(target, count, np.float32(0.0))


@njit
def fill_floats(target: Pointer, count: int, value: Any) -> None:
    """Set contiguous float32 to a value."""
    i = 0
    spread = splat(value)
    while i + LANES <= count:
        vstore(target, i, spread)
        i += LANES
    while i < count:
        store_f32(target, i, value)
        i += 1


@njit
def copy_rows(
    x: Pointer,
    target: Pointer,
    first: int,
    last: int,
    height: int,
    width: int,
    padded_width: int,
    pad_left: int,
    channels: int,
    row: int,
    pixel: int,
    fill: Any,
) -> None:
    """Copy input rows first..last (may lie outside) with their padding, channels packed.

    Padding is of ``fill``, a word as float32.
    """
    for h in range(first, last):
        out = target + (h - first) * padded_width * channels * 4
        if h < 0 or h >= height:
            fill_floats(out, padded_width * channels, fill)
            continue
        fill_floats(out, pad_left * channels, fill)
        inside = max(0, min(width, padded_width - pad_left))
        source = x + h * row * 4
        middle = out + pad_left * channels * 4
        if pixel == channels:
            copy_floats(source, middle, inside * channels)
        else:
            for w in range(inside):
                copy_floats(source + w * pixel * 4, middle + w * channels * 4, channels)
        after = padded_width - pad_left - inside
        fill_floats(middle + inside * channels * 4, after * channels, fill)
