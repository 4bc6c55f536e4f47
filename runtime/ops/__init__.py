"""Operators, one family a file: rules, shape rule and lowering of each side by side."""

from . import (
    attention,
    conv,
    conv_transpose,
    elementwise,
    fill,
    host_only,
    indexing,
    matmul,
    movement,
    norm,
    order,
    pool,
    reduce,
    resample,
    reshape,
    slices,
    unary,
)
from .registry import OPERATORS, has_kernel

__all__ = [
    "OPERATORS",
    "attention",
    "conv",
    "conv_transpose",
    "elementwise",
    "fill",
    "has_kernel",
    "host_only",
    "indexing",
    "matmul",
    "movement",
    "norm",
    "order",
    "pool",
    "reduce",
    "resample",
    "reshape",
    "slices",
    "unary",
]
