"""Products of few rows with float32 weights of 24 bits, which have 16 significant digits.

Such products wait for their weights, of which memory then has three bytes to read instead of four.
The error of a weight is at most 2 ** -16, as that of two bfloat16 terms of an operand, and weights
are rounded where products of many rows would take those.
"""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.packed_weights import LAST_BITS
from ..emission import Emission
from ..graph import Node
from ..symbolic import Dim
from .packed_weights import PackedWeights, constant_matrix
from .term_products import follows_product

MOST_ROWS = 16
"""With more rows the multiply-adds take longer than reading the weights: on Zen 4, one thread, both
forms take the same from 7 to 12 rows (1024 x 1024: 8 rows 158 us), up to 6 these are faster."""
_LEAST_WEIGHTS = 1 << 16
"""Fewer lie in a near cache."""
_LARGEST = 2.0**127
"""Larger numbers might become infinite."""


def short_weights(emit: Emission, node: Node, rows: Dim, turned: bool) -> PackedWeights | None:
    """Return weights of a product as short floats; None where that is not allowed, or slower.

    Parameters are those of `packed_weights`.
    """
    if emit.options.get("precision") != "fp32" or emit.is_catching:
        return None
    if isinstance(rows, int) and rows > MOST_ROWS:
        return None
    info = constant_matrix(node)
    if info is None:
        return None
    weights = info.array()
    if weights.size < _LEAST_WEIGHTS or not follows_product(node):
        return None
    if not np.abs(weights).max() < _LARGEST or _are_held_exactly(weights):
        return None
    return PackedWeights("f24", weights.T if turned else weights)


def _are_held_exactly(weights: np.ndarray) -> bool:
    """Tell whether 16 digits hold all weights exactly: perhaps whole numbers, of exact sums."""
    return not (np.ascontiguousarray(weights).view(np.uint32) & np.uint32(LAST_BITS)).any()
