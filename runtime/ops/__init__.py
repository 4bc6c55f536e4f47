"""Shape rule and lowering of every operator that has a kernel, one family a file."""

from . import (
    attention,
    conv,
    conv_transpose,
    elementwise,
    fill,
    indexing,
    matmul,
    movement,
    norm,
    order,
    pool,
    reduce,
    resample,
)
from .registry import OPERATORS

__all__ = [
    "OPERATORS",
    "attention",
    "conv",
    "conv_transpose",
    "elementwise",
    "fill",
    "indexing",
    "matmul",
    "movement",
    "norm",
    "order",
    "pool",
    "reduce",
    "resample",
]
