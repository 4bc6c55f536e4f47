"""Packing of a matrix known only at run time into the panels that the tile streams."""

from __future__ import annotations

import numpy as np

from ..registry import Pointer, kernel
from ..simd import load_f32, store_f32
from ..target import LANES


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
    depth = taps_d * taps_h * taps_w * channels
    work = sets * panels
    for index in range(work * part // parts, work * until // parts):
        own, p = index // panels, index % panels
        valid = min(panel, columns - p * panel)
        width = (valid + LANES - 1) // LANES * LANES
        out = y + (own * y_set + p * panel * depth) * 4
        source = x + (own * x_set + p * panel * x_column) * 4
        for tap in range(taps_d * taps_h * taps_w):
            w, h, d = tap % taps_w, tap // taps_w % taps_h, tap // taps_w // taps_h
            first = source + (d * x_d + h * x_h + w * x_w) * 4
            for c in range(channels):
                for n in range(valid):
                    store_f32(out, n, load_f32(first, c * x_channel + n * x_column))
                for n in range(valid, width):
                    store_f32(out, n, np.float32(0.0))
                out += width * 4
    return 0
