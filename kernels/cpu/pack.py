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
    images: int,
    depth: int,
    columns: int,
    x_image: int,
    x_row: int,
    x_column: int,
    nv: int,
    y_image: int,
) -> int:
    """Pack (depth, columns) float32 matrices of any strides; layout of ``packing.pack_matrix``."""
    panel = nv * LANES
    panels = (columns + panel - 1) // panel
    work = images * panels
    for index in range(work * part // parts, work * until // parts):
        image, p = index // panels, index % panels
        valid = min(panel, columns - p * panel)
        width = (valid + LANES - 1) // LANES * LANES
        out = y + (image * y_image + p * panel * depth) * 4
        source = x + (image * x_image + p * panel * x_column) * 4
        for k in range(depth):
            for n in range(valid):
                store_f32(out, k * width + n, load_f32(source, k * x_row + n * x_column))
            for n in range(valid, width):
                store_f32(out, k * width + n, np.float32(0.0))
    return 0
