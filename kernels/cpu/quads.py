"""Integers of 8 bits as the words of four unsigned bytes that tiles multiply.

A word holds four neighbours of the axis that is summed up; behind the last ones are others, which
weights of zero meet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..byte_vectors import four_rows, four_rows_first
from ..registry import Pointer, kernel
from ..simd import (
    load_i8,
    load_i32,
    load_u8,
    splat_i32,
    store_i32,
    vload_i32,
    vload_i32_first,
    vstore_i32,
    vstore_i32_first,
)
from ..target import LANES
from .pairs import joined

SIGNED = 0x80
"""What is added to int8 to have them as unsigned bytes, which flips their upper bits."""


@kernel
def quad_rows(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, images: int, rows: int, groups: int, channels: int, x_image: int,
    x_row: int, is_signed: int,
) -> int:  # fmt: skip
    """Make words along the innermost axis, for operands that a tile reads row by row.

    x has images x rows of ``groups`` times ``channels`` dense bytes; y is dense, and each group
    begins with a word of its own. Rows are split into parts.
    """
    flip = np.int32(0x80808080 - (1 << 32)) if is_signed != 0 else np.int32(0)
    words, all_rows = (channels + 3) // 4, images * rows
    for row in range(all_rows * part // parts, all_rows * until // parts):
        source = x + row // rows * x_image + row % rows * x_row
        target = y + row * groups * words * 4
        if row + 1 < all_rows:
            _words_with_others(source, target, groups, channels, words, flip)
        else:
            _words(source, target, groups, channels, flip)
    return 0


@njit
def _words_with_others(
    source: Pointer, target: Pointer, groups: int, channels: int, words: int, flip: Any
) -> None:
    """Copy the bytes of a row's groups; behind each are those that lie there in memory."""
    flips = splat_i32(flip)
    for group in range(groups):
        own, place = source + group * channels, target + group * words * 4
        word = 0
        while word + LANES <= words:
            vstore_i32(place, word, vload_i32(own, word) ^ flips)
            word += LANES
        if word < words:
            last = vload_i32_first(own, word, words - word) ^ flips
            vstore_i32_first(place, word, last, words - word)


@njit
def _words(source: Pointer, target: Pointer, groups: int, channels: int, flip: Any) -> None:
    """Copy the bytes of a row's groups, behind which there may be no memory."""
    whole = channels // 4
    words = (channels + 3) // 4
    for _ in range(groups):
        for word in range(whole):
            store_i32(target, word, load_i32(source, word) ^ flip)
        if words > whole:
            rest = np.int32(0)
            for c in range(4 * whole, channels):
                rest |= np.int32(load_u8(source, c)) << np.int32(8 * (c % 4))
            store_i32(target, whole, rest ^ flip)
        source += channels
        target += words * 4


@njit
def limits(zero: Pointer, is_signed: int, least: int, most: int) -> Any:
    """Return a zero point at an address (0: zero), and limits of bytes without it."""
    point: Any = 0
    if zero != 0:
        point = np.int64(load_i8(zero, 0)) if is_signed != 0 else np.int64(load_u8(zero, 0))
    return point, np.float32(least - point), np.float32(most - point)


@kernel
def quad_planes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, images: int, channels: int, pixels: int, x_image: int, x_plane: int,
    is_signed: int,
) -> int:  # fmt: skip
    """Make words of the pixels of images of up to four planes of bytes.

    Pixels of each image are split into parts.
    """
    flip = splat_i32(np.int32(0x80808080 - (1 << 32)) if is_signed != 0 else np.int32(0))
    blocks = (pixels + LANES - 1) // LANES
    first, last = blocks * part // parts * LANES, min(pixels, blocks * until // parts * LANES)
    for image in range(images):
        source, target = x + image * x_image, y + image * pixels * 4
        a, b = source + first, source + min(1, channels - 1) * x_plane + first
        c = source + min(2, channels - 1) * x_plane + first
        d = source + (channels - 1) * x_plane + first
        pixel = first
        while pixel + LANES <= last:
            vstore_i32(target, pixel, four_rows(a, b, c, d) ^ flip)
            a, b, c, d = a + LANES, b + LANES, c + LANES, d + LANES
            pixel += LANES
        if pixel < last:
            words = four_rows_first(a, b, c, d, last - pixel) ^ flip
            vstore_i32_first(target, pixel, words, last - pixel)
    return 0


@kernel
def zero_bias(
    thread: int, part: int, until: int, parts: int,
    zero: Pointer, sums: Pointer, bias: Pointer, y: Pointer, pad: Pointer, count: int,
    is_signed: int, is_shifted: int,
) -> int:  # fmt: skip
    """y[i] = bias[i] - z sums[i], int32, and pad = a word of four bytes z.

    ``zero`` is the address of a zero point, of int8 or uint8. Where it ``is_shifted`` it is 128
    less than z. The addresses of it and of the bias are 0 for zeros.
    """
    if part > 0:
        return 0
    point = np.int32(load_u8(zero, 0)) if zero != 0 else np.int32(0)
    point = np.int32(np.int8(point)) if is_signed != 0 else point
    point = point + np.int32(SIGNED) if is_shifted != 0 else point
    for i in range(count):
        term = load_i32(bias, i) if bias != 0 else np.int32(0)
        store_i32(y, i, np.int32(term - point * load_i32(sums, i)))
    store_i32(pad, 0, np.int32(np.int64(point & 0xFF) * 0x01010101))
    return 0


def quads(matrix: np.ndarray, axis: int) -> np.ndarray | None:
    """Put four numbers along an axis into a word each; None where they do not fit int8."""
    if matrix.size and (matrix.min() < -128 or matrix.max() > 127):
        return None
    return joined(matrix.astype(np.int8), axis)
