"""Packing of a matrix known only at run time into the panels that the tile streams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..registry import Pointer, kernel_factory
from ..target import LANES
from .elements import element


@kernel_factory
def pack(itemsize: int) -> Callable[..., int]:
    """Pack (depth, columns) matrices of any strides, of elements of 4 or 8 bytes.

    The layout is that of ``packing.pack_matrix``.
    """
    lanes = LANES * 4 // itemsize
    load, store = element(itemsize)
    zero = np.int32(0) if itemsize == 4 else np.int64(0)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, images: int, depth: int, columns: int, x_image: int, x_row: int,
        x_column: int, nv: int, y_image: int,
    ) -> int:  # fmt: skip
        panel = nv * lanes
        panels = (columns + panel - 1) // panel
        work = images * panels
        for index in range(work * part // parts, work * until // parts):
            image, p = index // panels, index % panels
            valid = min(panel, columns - p * panel)
            width = (valid + lanes - 1) // lanes * lanes
            out = y + (image * y_image + p * panel * depth) * itemsize
            source = x + (image * x_image + p * panel * x_column) * itemsize
            for k in range(depth):
                for n in range(valid):
                    store(out, k * width + n, load(source, k * x_row + n * x_column))
                for n in range(valid, width):
                    store(out, k * width + n, zero)
        return 0

    return body
