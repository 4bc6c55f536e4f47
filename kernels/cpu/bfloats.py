"""float32 rounded to bfloat16, as the pairs that tiles multiply.

A word holds two neighbours of the axis that is summed up, the first in its lower half; where their
number is odd, the last word has a zero.
"""

from __future__ import annotations

import numpy as np

from ..half_vectors import store_pixels
from ..halves import store_bf16
from ..registry import Pointer, kernel
from ..simd import load_f32, splat, vload, vload_first
from ..target import LANES
from ..vector_memory import VECTOR_MEMORY
from .packed_weights import round_to_bfloat16
from .pairs import joined

_ZERO = np.float32(0.0)
_, _store, _, _store_first = VECTOR_MEMORY["bf16"]


@kernel
def bfloat_rows(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, images: int, rows: int, groups: int, channels: int, x_image: int,
    x_row: int,
) -> int:  # fmt: skip
    """Make pairs along the innermost axis, for operands that a tile reads row by row.

    x has images x rows of ``groups`` times ``channels`` dense float32; y is dense, and each group
    begins with a word of its own. Rows are split into parts.
    """
    padded = (channels + 1) // 2 * 2
    whole = channels // LANES * LANES
    all_rows = images * rows
    for row in range(all_rows * part // parts, all_rows * until // parts):
        source = x + (row // rows * x_image + row % rows * x_row) * 4
        target = y + row * groups * padded * 2
        for _ in range(groups):
            for c in range(0, whole, LANES):
                _store(target, c, vload(source, c))
            if channels > whole:
                rest = channels - whole
                _store_first(target, whole, vload_first(source, whole, rest), rest)
            if padded > channels:
                store_bf16(target, channels, np.float32(0.0))
            source += channels * 4
            target += padded * 2
    return 0


@kernel
def bfloat_planes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, y: Pointer, images: int, channels: int, pixels: int, x_image: int, x_plane: int,
) -> int:  # fmt: skip
    """Make pixels of four bfloat16 of images of two to four planes; what is left of them is 0.

    Pixels of each image are split into parts.
    """
    blocks = (pixels + LANES - 1) // LANES
    first, last = blocks * part // parts * LANES, min(pixels, blocks * until // parts * LANES)
    zeros, apart = splat(_ZERO), x_plane * 4
    for image in range(images):
        a, target = x + image * x_image * 4, y + image * pixels * 8
        pixel = first
        while pixel + LANES <= last:
            second = vload(a + apart, pixel)
            third = vload(a + 2 * apart, pixel) if channels > 2 else zeros
            fourth = vload(a + 3 * apart, pixel) if channels > 3 else zeros
            store_pixels(target, pixel * 4, vload(a, pixel), second, third, fourth)
            pixel += LANES
        while pixel < last:
            for channel in range(4):
                value = load_f32(a + channel * apart, pixel) if channel < channels else _ZERO
                store_bf16(target, pixel * 4 + channel, value)
            pixel += 1
    return 0


def bfloat_pairs(values: np.ndarray, axis: int) -> np.ndarray:
    """Round float32 to bfloat16, and pair them along an axis."""
    return joined(round_to_bfloat16(values), axis)
