"""Whether convolutions of integers pay on this machine, by the measured rates of its units.

Those of float32 may take fewer products, by Winograd's forms, but read and write floats; those of
bytes may, too, but for AMX.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..kernels.amx_permission import has_amx
from ..kernels.cpu.packing import pixel_cost
from ..kernels.machine_costs import machine_costs
from ..kernels.unit_rates import integer_speed, words_pay
from .ops.winograd_costs import gain

_WORD = 4
"""Bytes of a word."""
_PASS_BYTES = 5
"""Of a number that becomes a float32, or a byte, in a step of its own: both are moved."""
_SIZE = 64
"""Stands for a size that is known only when the model runs."""


def integers_pay(
    filters: Sequence[int], result: Sequence[Any], groups: int, strides: Sequence[int],
    dilations: Sequence[int],
) -> bool:  # fmt: skip
    """Tell whether a convolution of bytes is at least as fast as one of float32.

    Floats are made of the bytes of the image before, and bytes of those of the result.

    Parameters
    ----------
    filters : sequence of int
        Shape (M, C / groups, ...).
    result : sequence
        Sizes (N, M, ...), of which some may be unknown.
    groups : int
    strides, dilations : sequence of int
        By spatial axis.
    """
    faster = own = 1.0
    out_channels, channels, *window = filters
    images = result[0] if isinstance(result[0], int) else 1
    sizes = [size if isinstance(size, int) else _SIZE for size in result[2:]]
    if len(window) == 2 and all(step == 1 for step in dilations):
        kernel, size = (window[0], window[1]), (images, sizes[0], sizes[1])
        layer = out_channels // groups, groups, (strides[0], strides[1])
        faster = gain(kernel, size, channels, *layer)
        if not has_amx():
            own = gain(kernel, size, -(-channels // _WORD), *layer, "u8")
    # Of a pixel of the result.
    depth = channels * math.prod(window)
    products = groups * pixel_cost(None, out_channels // groups, depth)
    moved = (channels * groups * math.prod(strides), out_channels)
    streams, pixels = machine_costs().streams, images * math.prod(sizes)
    passes = sum(_PASS_BYTES * each * streams.of(_WORD * each * pixels) for each in moved)
    return bool(products / (integer_speed() * own) <= products / faster + passes)


def two_bytes_pay() -> bool:
    """Tell whether two products of bytes are faster than one of float32."""
    return words_pay() and integer_speed() > 2
