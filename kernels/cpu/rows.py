"""Copies of rows of channels-last images together with their padding."""

from __future__ import annotations

import numpy as np
from numba import njit

from ..registry import Pointer
from ..simd import load_f32, splat, store_f32, vload, vstore
from ..target import LANES

_F0 = np.float32(0.0)


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
    i = 0
    zero = splat(_F0)
    while i + LANES <= count:
        vstore(target, i, zero)
        i += LANES
    while i < count:
        store_f32(target, i, _F0)
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
) -> None:
    """Copy input rows first..last (may lie outside) with their padding, channels packed."""
    for h in range(first, last):
        out = target + (h - first) * padded_width * channels * 4
        if h < 0 or h >= height:
            zero_floats(out, padded_width * channels)
            continue
        zero_floats(out, pad_left * channels)
        inside = max(0, min(width, padded_width - pad_left))
        source = x + h * row * 4
        middle = out + pad_left * channels * 4
        if pixel == channels:
            copy_floats(source, middle, inside * channels)
        else:
            for w in range(inside):
                copy_floats(source + w * pixel * 4, middle + w * channels * 4, channels)
        after = padded_width - pad_left - inside
        zero_floats(middle + inside * channels * 4, after * channels)
