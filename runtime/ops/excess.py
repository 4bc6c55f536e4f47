"""Weights of 8 bits less a zero point that fit no int8, as int8 and a number for each result.

A weight is ``w + e`` with ``e``, the *excess*, the same in all weights of a result: ``sum (x - z)
(w + e)`` is ``sum (x - z) w + e sum (x - z)``. The second sum is that of one more filter, of ones,
whatever the number of results. It is added while rows of the others are in cache.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np

from ...kernels import amx
from ...kernels.amx_permission import has_amx
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES
from ...kernels.unit_rates import integer_speed, pair_speed
from ..emission import Emission
from ..tensors import Tensor
from .epilogue import Epilogue

_INT8 = np.iinfo(np.int8)
_PASS_BYTES = 8
"""Of a sum that is read and written once more."""
_STEP_PRODUCTS = 4 * amx.ROW_WORDS
"""Products of a step of AMX's tile for each sum."""


def excess(weights: np.ndarray) -> np.ndarray | None:
    """Return what weights (results, ...) of 9 bits have beyond int8, int32 (results,).

    None where they fit, and where pairs of int16 are as fast: of few results, of which one more
    filter is a large part, and of short sums.
    """
    if len(weights) <= LANES or not _pays(weights[0].size):
        return None
    axes = tuple(range(1, weights.ndim))
    above = np.maximum(weights.max(axis=axes).astype(np.int32) - _INT8.max, 0)
    below = np.minimum(weights.min(axis=axes).astype(np.int32) - _INT8.min, 0)
    return above + below if above.any() or below.any() else None


def _pays(length: int) -> bool:
    """Tell whether a sum of products of bytes and a pass over sums cost less than pairs of int16.

    On Intel Emerald Rapids, with AMX, sums of 32 take 1.25 times as long, those of 144 0.8 times.
    """
    costs = machine_costs()
    by_bytes = length / integer_speed()
    if has_amx():
        by_bytes += costs.tile_stores * _STEP_PRODUCTS / integer_speed()
    by_bytes += _PASS_BYTES * costs.streams.near * LANES
    return by_bytes < length / pair_speed()


def without(weights: np.ndarray, numbers: np.ndarray | None) -> np.ndarray:
    """Return weights less their `excess`."""
    if numbers is None:
        return weights
    return weights - numbers.astype(weights.dtype).reshape(-1, *[1] * (weights.ndim - 1))


def with_excess(
    emit: Emission, epilogue: Epilogue | None, y: Tensor, numbers: Tensor, sums: Tensor
) -> tuple[Tensor, Epilogue]:
    """Return where sums of int8 go, and an epilogue that adds ``numbers`` times other ``sums``.

    Parameters
    ----------
    emit : Emission
    epilogue : Epilogue, optional
        What follows the sums, as an expression of them.
    y : Tensor
        Where the sums would go, int32.
    numbers, sums : Tensor
        int32, which broadcast to ``y``.
    """
    if epilogue is None or epilogue.result is None:
        order = sorted(range(len(y.shape)), key=lambda axis: y.strides[axis] == 1)
        epilogue = Epilogue(result=y, expression="x0")
        y = emit.new(y.shape, "int32", order, y.name)
    first = len(epilogue.others) + 1
    text = re.sub(r"\bx0\b", "total", epilogue.expression)
    text = f"total=add(x0,mul(x{first},x{first + 1}));{text}"
    others = [*epilogue.others, numbers, sums]
    return y, dataclasses.replace(epilogue, expression=text, others=others)
