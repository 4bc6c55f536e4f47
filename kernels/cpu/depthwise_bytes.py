"""Depthwise convolution from bytes to bytes, channels last, by words of four taps.

A word has four neighbours of a row of one channel. It serves all windows that begin within it and
end with it or with the words beside it: each has weights of its own, with zeros where its taps are
not. Words of the rows under a window are made once, padding included, and kept in a ring of rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ..byte_vectors import add_quads, four_rows, four_rows_first, store_requantized
from ..fields import Requantized, Sizes, Strides, Window
from ..registry import Pointer, kernel
from ..simd import (
    load_f32,
    load_i32,
    load_i64,
    splat,
    splat_i32,
    stack_words,
    store_i64,
    vload_first,
    vload_i32,
    vload_i32_first,
    vstore_i32,
)
from ..target import LANES
from .quads import limits

MAX_ROWS = 16
"""Rows of a window at most."""


@njit
def _make_words(
    x: Pointer, target: Pointer, border: Pointer, sizes: Sizes, window: Window, pixel: int,
    channels: int, words: int, share: int, flip: Any,
) -> None:  # fmt: skip
    """Make the words of a row of pixels at ``x``, those outside it from the border."""
    size = (channels + LANES - 1) // LANES * LANES * 4
    addresses = stack_words(4)
    for place in range((sizes.out_width + share - 1) // share * words):
        left = place // words * share * window.stride_w - window.pad_left
        left += place % words * 4 * window.dilation_w
        for tap in range(4):
            column = left + tap * window.dilation_w
            inside = 0 <= column < sizes.width
            store_i64(addresses, tap, x + column * pixel if inside else border)
        a, b = load_i64(addresses, 0), load_i64(addresses, 1)
        c, d = load_i64(addresses, 2), load_i64(addresses, 3)
        at = 0
        while at + LANES <= channels:
            vstore_i32(target, at, four_rows(a + at, b + at, c + at, d + at) ^ flip)
            at += LANES
        if at < channels:
            some = four_rows_first(a + at, b + at, c + at, d + at, channels - at)
            vstore_i32(target, at, some ^ flip)
        target += size


@njit
def _fill_words(target: Pointer, count: int, word: Any) -> None:
    for at in range(0, count, LANES):
        vstore_i32(target, at, word)


@njit
def _convolve_row(
    y: Pointer, rows: Pointer, w: Pointer, bias: Pointer, requantized: Requantized, scale_step: int,
    channels: int, kernel_h: int, words: int, share: int, out_width: int, pixel: int,
) -> None:  # fmt: skip
    """Convolve the rows of words at ``rows``, an address for each of the window."""
    zero, low, high = limits(requantized.zero, requantized.is_signed)
    blocks = (channels + LANES - 1) // LANES
    step, taps = blocks * LANES * 4, kernel_h * words
    for block in range(blocks):
        c = block * LANES
        count = min(LANES, channels - c)
        first, scale = splat_i32(np.int32(0)), splat(load_f32(requantized.scales, 0))
        if bias != 0:
            first = vload_i32_first(bias, c, count)
        if scale_step != 0:
            scale = vload_first(requantized.scales, c, count)
        for shift in range(share):
            weights = w + (shift * blocks + block) * taps * LANES * 4
            at, target = c * 4, y + shift * pixel + c
            for _ in range(shift, out_width, share):
                total, factor = first, 0
                for k in range(kernel_h):
                    source = load_i64(rows, k) + at
                    for _ in range(words):
                        factors = vload_i32(weights, factor)
                        total = add_quads(total, vload_i32(source, 0), factors)
                        source += step
                        factor += LANES
                store_requantized(target, total, scale, low, high, zero, count)
                at += words * step
                target += share * pixel


@kernel
def depthwise_bytes(
    thread: int, part: int, until: int, parts: int,
    x: Pointer, w: Pointer, bias: Pointer, pad: Pointer, channels: int, sizes: Sizes,
    window: Window, strides: Strides, words: int, share: int, flip: int, scale_step: int,
    requantized: Requantized, workspace: Pointer, workspace_bytes: int,
) -> int:  # fmt: skip
    """Convolve each channel of images of bytes with a filter of its own.

    ``w`` has (share, channels / LANES, kernel_h, words, LANES) words, for windows that begin at the
    first pixels of a word. ``pad`` is the address of a word of padding (0: zeros); bytes are
    flipped by ``flip``, which makes signed ones unsigned. Strides are bytes; all bias or sums are
    int32. Rows are split into parts.
    """
    image_rows = sizes.out_height
    rows = sizes.images * image_rows
    first, last = rows * part // parts, rows * until // parts
    border = workspace + thread * workspace_bytes
    size = (channels + LANES - 1) // LANES * LANES
    line = (sizes.out_width + share - 1) // share * words * size
    ring = (window.kernel_h - 1) * window.dilation_h + 1
    word = np.int32(load_i32(pad, 0)) if pad != 0 else np.int32(0)
    padding, flipped = splat_i32(word), splat_i32(np.int32(flip))
    _fill_words(border, size, padding ^ flipped)
    lines, addresses = border + size * 4, stack_words(MAX_ROWS)
    following, image = 0, -1
    for row in range(first, last):
        h = row % image_rows
        top = h * window.stride_h - window.pad_top
        if row // image_rows != image:
            image, following = row // image_rows, top
        for r in range(max(following, top), top + ring):
            target = lines + r % ring * line * 4
            if 0 <= r < sizes.height:
                source = x + image * strides.x_image + r * strides.x_row
                _make_words(
                    source, target, border, sizes, window, strides.x_pixel, channels, words, share,
                    flipped,
                )  # fmt: skip
            else:
                _fill_words(target, line, padding)
        following = top + ring
        for k in range(window.kernel_h):
            store_i64(addresses, k, lines + (top + k * window.dilation_h) % ring * line * 4)
        _convolve_row(
            requantized.target + image * strides.y_image + h * strides.y_row, addresses, w, bias,
            requantized, scale_step, channels, window.kernel_h, words, share, sizes.out_width,
            strides.y_pixel,
        )  # fmt: skip
    return 0


def row_words(kernel_w: int, stride_w: int, dilation_w: int) -> tuple[int, int]:
    """Return words of a row of taps, and how many windows share their place."""
    words = -(-kernel_w // 4)
    share = (4 * words - kernel_w) // stride_w + 1 if dilation_w == 1 else 1
    return words, share


def workspace_bytes(out_width: Any, channels: Any, reach: int, words: int, share: int) -> Any:
    """Bytes of workspace for each thread."""
    size = (channels + LANES - 1) // LANES * LANES * 4
    return size + (out_width + share - 1) // share * words * size * reach
