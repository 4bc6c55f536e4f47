"""Images of few planes, rounded to bytes in the pass that makes words of their pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..quotients import is_ordinary, reciprocal, rounded_quotient
from ..registry import Pointer, kernel
from ..simd import (
    load_f32,
    load_i8,
    load_u8,
    select,
    splat,
    splat_i32,
    to_i32,
    vload,
    vload_first,
    vmax,
    vmin,
    vstore_i32,
    vstore_i32_first,
)
from ..target import LANES


@njit
def _byte(rounded: Any, point: Any, least: Any, largest: Any, shift: Any) -> Any:
    """Give whole numbers with a zero point as bytes of words; NaN becomes 0."""
    value = rounded + point
    value = select(value == value, vmin(vmax(value, least), largest), splat(np.float32(0.0)))
    return (to_i32(value) & splat_i32(np.int32(255))) << shift


@kernel
def quantize_planes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, scale: Pointer, zero: Pointer, images: int, channels: int, pixels: int,
    x_image: int, x_plane: int, is_signed: int,
) -> int:  # fmt: skip
    """QuantizeLinear of images of up to four planes; the bytes of a pixel are a word of y.

    Scale and zero point (0: none) are one number each, strides are elements. Bytes behind the
    channels are 0. Pixels of each image are split into parts.
    """
    by = load_f32(scale, 0)
    divisor, inverse, ordinary = splat(by), reciprocal(by), is_ordinary(by)
    number = np.float32(0.0)
    if zero != 0:
        number = np.float32(load_i8(zero, 0) if is_signed != 0 else load_u8(zero, 0))
    bottom = np.float32(-128.0) if is_signed != 0 else np.float32(0.0)
    point, least, largest = splat(number), splat(bottom), splat(bottom + np.float32(255.0))
    blocks = (pixels + LANES - 1) // LANES
    first, last = blocks * part // parts * LANES, min(pixels, blocks * until // parts * LANES)
    for image in range(images):
        target = y + image * pixels * 4
        for pixel in range(first, last, LANES):
            count = min(LANES, last - pixel)
            words = splat_i32(np.int32(0))
            for channel in range(channels):
                plane = x + (image * x_image + channel * x_plane) * 4
                value = vload(plane, pixel) if count == LANES else vload_first(plane, pixel, count)
                rounded = rounded_quotient(value, divisor, inverse, ordinary)
                shift = splat_i32(np.int32(8 * channel))
                words = words | _byte(rounded, point, least, largest, shift)
            if count == LANES:
                vstore_i32(target, pixel, words)
            else:
                vstore_i32_first(target, pixel, words, count)
    return 0
