"""Rows of channels-last images, split into bfloat16 terms for the tiles of AMX.

Blocks of channels lie one after the other, each with all pixels; a pixel has the terms of its 32
channels side by side. So 16 pixels of a row are 16 lines of a cache, whatever the channels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import njit

from ..bfloat_terms import BLOCK, TERM_BYTES, make_split
from ..registry import Pointer
from ..simd import splat, vstore
from ..target import LANES
from ..vector_memory import ITEM_BYTES


class Rows(NamedTuple):
    """Rows of an image, and how they are padded; strides are elements.

    ``top`` is the first row, which may lie outside, and ``left`` the columns before the first.
    """

    x: Pointer
    height: int
    width: int
    channels: int
    row: int
    pixel: int
    top: int
    left: int


def make_split_pixel(terms: int, kind: str = "f32") -> Callable[..., None]:
    """Return what splits the channels of a pixel; blocks of channels are ``plane`` bytes apart.

    Memory has elements of ``kind``. Zeros fill the last block.
    """
    split, block_bytes = make_split(terms, kind), BLOCK * ITEM_BYTES[kind]

    @njit
    def split_pixel(source: Pointer, target: Pointer, plane: int, channels: int) -> None:
        for k in range((channels + BLOCK - 1) // BLOCK):
            split(source + k * block_bytes, target + k * plane, channels - k * BLOCK)

    return split_pixel


def make_split_rows(terms: int, kind: str = "f32") -> Callable[..., None]:
    """Return what splits ``count`` rows of ``width`` pixels of a ``kind``, padding included."""
    split_pixel = make_split_pixel(terms, kind)
    pixel_bytes, itemsize = terms * TERM_BYTES, ITEM_BYTES[kind]

    @njit
    def clear(target: Pointer, pixels: int) -> None:
        zeros = splat(np.float32(0.0))
        for i in range(0, pixels * pixel_bytes // 4, LANES):
            vstore(target, i, zeros)

    @njit
    def split_rows(own: Rows, target: Pointer, count: int, width: int, plane: int) -> None:
        blocks = (own.channels + BLOCK - 1) // BLOCK
        inside = max(0, min(own.width, width - own.left))
        behind = width - own.left - inside
        for h in range(count):
            at = target + h * width * pixel_bytes
            if own.top + h < 0 or own.top + h >= own.height:
                for k in range(blocks):
                    clear(at + k * plane, width)
                continue
            for k in range(blocks):
                clear(at + k * plane, own.left)
                clear(at + k * plane + (own.left + inside) * pixel_bytes, behind)
            source = own.x + (own.top + h) * own.row * itemsize
            at += own.left * pixel_bytes
            for _ in range(inside):
                split_pixel(source, at, plane, own.channels)
                source += own.pixel * itemsize
                at += pixel_bytes

    return split_rows
