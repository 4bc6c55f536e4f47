"""Packing of weights known only at run time into the panels that the tile streams."""

from __future__ import annotations

import numpy as np
from numba import njit

from .. import shuffle
from ..registry import Pointer, kernel
from ..simd import load_f32, stack_words, store_f32, vload, vstore
from ..target import LANES
from .rows import copy_floats, zero_floats

_transpose = shuffle.transpose_block(4)
_BLOCK_WORDS = LANES * LANES // 2


@njit
def _pack_columns(
    source: Pointer, out: Pointer, rows: int, taps: int, channels: int, x_column: int, valid: int,
    width: int,
) -> None:  # fmt: skip
    """Pack columns of which each lies densely, channels before taps."""
    block = stack_words(_BLOCK_WORDS)
    for n0 in range(0, valid, LANES):
        columns, start = min(LANES, valid - n0), source + n0 * x_column * 4
        for k0 in range(0, rows, LANES):
            count = min(LANES, rows - k0)
            full = columns == LANES and count == LANES
            if full:
                _transpose(start + k0 * 4, x_column * 4, block, LANES * 4)
            for k in range(k0, k0 + count):
                target = out + ((k % taps * channels + k // taps) * width + n0) * 4
                if full:
                    vstore(target, 0, vload(block, (k - k0) * LANES))
                    continue
                for n in range(columns):
                    store_f32(target, n, load_f32(start, n * x_column + k))
                for n in range(columns, LANES):
                    store_f32(target, n, np.float32(0.0))


@kernel
def pack(
    thread: int,
    part: int,
    until: int,
    parts: int,
    x: Pointer,
    y: Pointer,
    sets: int,
    taps_d: int,
    taps_h: int,
    taps_w: int,
    channels: int,
    columns: int,
    x_set: int,
    x_d: int,
    x_h: int,
    x_w: int,
    x_channel: int,
    x_column: int,
    nv: int,
    y_set: int,
) -> int:
    """Pack sets of weights of any strides; layout of ``packing.pack_matrix``.

    A set is a (taps_d * taps_h * taps_w * channels, columns) matrix of float32.
    """
    panel = nv * LANES
    panels = (columns + panel - 1) // panel
    taps = taps_d * taps_h * taps_w
    rows = taps * channels
    dense = (
        (x_channel == taps or channels == 1)
        and (x_d == taps_h * taps_w or taps_d == 1)
        and (x_h == taps_w or taps_h == 1)
        and (x_w == 1 or taps_w == 1)
    )
    work = sets * panels
    for index in range(work * part // parts, work * until // parts):
        own, p = index // panels, index % panels
        valid = min(panel, columns - p * panel)
        width = (valid + LANES - 1) // LANES * LANES
        out = y + (own * y_set + p * panel * rows) * 4
        source = x + (own * x_set + p * panel * x_column) * 4
        if dense:
            _pack_columns(source, out, rows, taps, channels, x_column, valid, width)
            continue
        for tap in range(taps):
            w, h, d = tap % taps_w, tap // taps_w % taps_h, tap // taps_w // taps_h
            first = source + (d * x_d + h * x_h + w * x_w) * 4
            for c in range(channels):
                if x_column == 1:
                    copy_floats(first + c * x_channel * 4, out, valid)
                else:
                    for n in range(valid):
                        store_f32(out, n, load_f32(first, c * x_channel + n * x_column))
                zero_floats(out + valid * 4, width - valid)
                out += width * 4
    return 0
