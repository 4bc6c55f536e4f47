"""Images of few planes, rounded to bytes in the pass that makes words of their pixels.

Where the processor packs, the unsigned bytes of four planes are packed at a time (`byte_packing`),
and the bytes of a pixel, which then lie in one part of 128 bits, brought together by one shuffle.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types

from ..byte_packing import HAS_PACKS, Limits, emit_quarters
from ..quotients import is_ordinary, quotient, reciprocal, rounded_quotient
from ..registry import Pointer, kernel
from ..simd import (
    emit_splat,
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
from ..vectors import F32, I32, f32x, i32x, intrinsic

_FULL = 4  # planes of a word
_PIXELS = 4  # pixels of a plane in 128 bits


@intrinsic
def _words_of_four(typingctx, a, b, c, d, zero):  # type: ignore[no-untyped-def]
    """Words of the unsigned bytes of numbers of four planes, rounded, with a zero point; NaN is 0.

    For processors that pack.
    """

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        *planes, zero = args
        low = builder.fsub(ir.Constant(F32, 0.0), zero)
        high = builder.fsub(ir.Constant(F32, 255.0), zero)
        point = emit_splat(builder, builder.fptosi(zero, I32))
        ends = Limits(emit_splat(builder, low), emit_splat(builder, high), point)
        joined = emit_quarters(builder, planes, ends)
        # A part of 128 bits has four pixels of each plane.
        order = [
            (part * _FULL + plane) * _PIXELS + pixel
            for part in range(LANES // _PIXELS)
            for pixel in range(_PIXELS)
            for plane in range(_FULL)
        ]
        mask = ir.Constant(ir.VectorType(I32, len(order)), order)
        return builder.bitcast(builder.shuffle_vector(joined, joined, mask), i32x.llvm)

    return i32x(*[f32x] * 4, types.float32), codegen


@njit
def _packed_planes(
    x: Pointer, y: Pointer, channels: int, plane: int, first: int, last: int, by: Any, zero: Any
) -> None:
    """Write the words of some pixels of an image; planes are ``plane`` bytes apart."""
    divisor, inverse, ordinary = splat(by), reciprocal(by), is_ordinary(by)
    inside = splat_i32(np.int32((np.int64(1) << (8 * channels)) - 1))
    for pixel in range(first, last, LANES):
        count = min(LANES, last - pixel)
        a = quotient(_some(x, pixel, count), divisor, inverse, ordinary)
        b = c = d = a
        if channels > 1:
            b = quotient(_some(x + plane, pixel, count), divisor, inverse, ordinary)
        if channels > 2:
            c = quotient(_some(x + 2 * plane, pixel, count), divisor, inverse, ordinary)
        if channels > 3:
            d = quotient(_some(x + 3 * plane, pixel, count), divisor, inverse, ordinary)
        words = _words_of_four(a, b, c, d, zero) & inside
        if count == LANES:
            vstore_i32(y, pixel, words)
        else:
            vstore_i32_first(y, pixel, words, count)


@njit
def _some(plane: Pointer, pixel: int, count: int) -> Any:
    return vload(plane, pixel) if count == LANES else vload_first(plane, pixel, count)


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
        if HAS_PACKS and is_signed == 0:
            source = x + image * x_image * 4
            _packed_planes(source, target, channels, x_plane * 4, first, last, by, number)
            continue
        for pixel in range(first, last, LANES):
            count = min(LANES, last - pixel)
            words = splat_i32(np.int32(0))
            for channel in range(channels):
                plane = x + (image * x_image + channel * x_plane) * 4
                value = _some(plane, pixel, count)
                rounded = rounded_quotient(value, divisor, inverse, ordinary)
                shift = splat_i32(np.int32(8 * channel))
                words = words | _byte(rounded, point, least, largest, shift)
            if count == LANES:
                vstore_i32(target, pixel, words)
            else:
                vstore_i32_first(target, pixel, words, count)
    return 0
