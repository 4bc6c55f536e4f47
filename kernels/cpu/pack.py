"""Packing of weights known only at run time into the panels that the tile streams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from .. import shuffle
from ..registry import Pointer, kernel_factory
from ..simd import stack_words, vload, vstore
from ..target import LANES
from .elements import VECTOR, element
from .rows import copy_floats, zero_floats


@kernel_factory
def pack(itemsize: int) -> Callable[..., int]:
    """Pack sets of weights of any strides, of elements of 4 or 8 bytes.

    A set is a (taps_d * taps_h * taps_w * channels, columns) matrix; the layout is that of
    ``packing.pack_matrix``.
    """
    lanes, words_each = VECTOR // itemsize, itemsize // 4
    load, store = element(itemsize)
    zero = np.int32(0) if itemsize == 4 else np.int64(0)
    transpose, block_words = shuffle.transpose_block(itemsize), lanes * VECTOR // 8

    @njit
    def pack_columns(
        source: Pointer, out: Pointer, rows: int, taps: int, channels: int, x_column: int,
        valid: int, width: int,
    ) -> None:  # fmt: skip
        """Pack columns of which each lies densely, channels before taps."""
        block = stack_words(block_words)
        for n0 in range(0, valid, lanes):
            columns, start = min(lanes, valid - n0), source + n0 * x_column * itemsize
            for k0 in range(0, rows, lanes):
                count = min(lanes, rows - k0)
                full = columns == lanes and count == lanes
                if full:
                    transpose(start + k0 * itemsize, x_column * itemsize, block, VECTOR)
                for k in range(k0, k0 + count):
                    target = out + ((k % taps * channels + k // taps) * width + n0) * itemsize
                    if full:
                        vstore(target, 0, vload(block, (k - k0) * LANES))
                        continue
                    for n in range(columns):
                        store(target, n, load(start, n * x_column + k))
                    for n in range(columns, lanes):
                        store(target, n, zero)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, sets: int, taps_d: int, taps_h: int, taps_w: int, channels: int,
        columns: int, x_set: int, x_d: int, x_h: int, x_w: int, x_channel: int, x_column: int,
        nv: int, y_set: int,
    ) -> int:  # fmt: skip
        panel = nv * lanes
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
            width = (valid + lanes - 1) // lanes * lanes
            out = y + (own * y_set + p * panel * rows) * itemsize
            source = x + (own * x_set + p * panel * x_column) * itemsize
            if dense:
                pack_columns(source, out, rows, taps, channels, x_column, valid, width)
                continue
            for tap in range(taps):
                w, h, d = tap % taps_w, tap // taps_w % taps_h, tap // taps_w // taps_h
                first = source + (d * x_d + h * x_h + w * x_w) * itemsize
                for c in range(channels):
                    if x_column == 1:
                        copy_floats(first + c * x_channel * itemsize, out, valid * words_each)
                    else:
                        for n in range(valid):
                            store(out, n, load(first, c * x_channel + n * x_column))
                    zero_floats(out + valid * itemsize, (width - valid) * words_each)
                    out += width * itemsize
        return 0

    return body
