"""Whether convolutions of integers pay on this machine, by the measured rates of its units.

Those of float32 may take fewer products, by Winograd's forms, but read and write floats; those of
bytes may, too, but for AMX.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..kernels.amx_permission import has_amx
from ..kernels.unit_rates import integer_speed, words_pay
from .ops.winograd_costs import gain

_PASSES = 1.1
"""Time of a convolution of floats whose image is dequantized before, and its result quantized."""
_WORD = 4
"""Bytes of a word."""
_SIZE = 64
"""Stands for a size that is known only when the model runs."""


def integers_pay(
    filters: Sequence[int], result: Sequence[Any], groups: int, strides: Sequence[int],
    dilations: Sequence[int],
) -> bool:  # fmt: skip
    """Tell whether a convolution of bytes is at least as fast as one of float32.

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
    if len(filters) == 4 and all(step == 1 for step in dilations):
        images, _, *sizes = (size if isinstance(size, int) else _SIZE for size in result)
        kernel, (height, width), (down, across) = tuple(filters[2:]), sizes, strides
        images = images if isinstance(result[0], int) else 1
        size, out_channels = (images, height, width), filters[0] // groups
        window, strides = (kernel[0], kernel[1]), (down, across)
        faster = gain(window, size, filters[1], out_channels, groups, strides)
        if not has_amx():
            own = gain(window, size, -(-filters[1] // _WORD), out_channels, groups, strides, "u8")
    return bool(integer_speed() * own * _PASSES >= faster)


def two_bytes_pay() -> bool:
    """Tell whether two products of bytes are faster than one of float32."""
    return words_pay() and integer_speed() >= 2 * _PASSES
