"""Scaling of packed weights by a factor per input channel, for each image anew."""

from __future__ import annotations

from ..registry import Pointer, kernel
from ..simd import load_f32, splat, vload, vstore
from ..target import LANES


@kernel
def scale_panels(
    thread: int,
    part: int,
    until: int,
    parts: int,
    w: Pointer,
    factors: Pointer,
    y: Pointer,
    images: int,
    depth: int,
    columns: int,
    nv: int,
    factors_image: int,
    factors_step: int,
    y_image: int,
) -> int:
    """Write ``y[i, k, m] = factors[i, k] * w[k, m]``, float32.

    ``w`` and each image of ``y`` are (depth, columns) matrices in the layout of
    ``packing.pack_matrix``, ``y_image`` elements apart; factors are ``factors_step`` apart.
    """
    panel = nv * LANES
    panels = (columns + panel - 1) // panel
    total = images * panels * depth
    row, last = total * part // parts, total * until // parts
    while row < last:
        block, k = row // depth, row % depth
        image, p = block // panels, block % panels
        count = min(depth - k, last - row)
        width = (min(panel, columns - p * panel) + LANES - 1) // LANES * LANES
        at = w + (p * panel * depth + k * width) * 4
        out = y + (image * y_image + p * panel * depth + k * width) * 4
        factor = factors + (image * factors_image + k * factors_step) * 4
        for i in range(count):
            scale = splat(load_f32(factor, i * factors_step))
            for j in range(0, width, LANES):
                vstore(out, i * width + j, vload(at, i * width + j) * scale)
        row += count
    return 0
