"""Range of the numbers of a tensor, and the scale and zero point that follow from it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..abi import EXTREME_PIECES as PIECES
from ..fields import Pointer
from .blocks import block_fold
from .functions import device_function
from .kernel import Fields, Launch, Limits, cuda_kernel
from .memory import LOAD, STORE, load_f32, store_f32
from .numbers import SCOPE
from .threads import cuda

_F = np.float32
_load_i32, _store_u8 = LOAD["i32"], STORE["u8"]
_least, _most = block_fold("min", np.float32), block_fold("max", np.float32)
_rint = SCOPE["math_rint_f32"]


@device_function()
def _lower(a: Any, b: Any) -> Any:
    """Return the lesser of two numbers; NaN counts as none, as in the CPU's kernel."""
    return b if b < a else a


@device_function()
def _higher(a: Any, b: Any) -> Any:
    return b if b > a else a


def _pieces(f: Fields, limits: Limits) -> Launch:
    return Launch((min(PIECES, limits.blocks), 1, 1), (limits.threads, 1, 1))


@cuda_kernel(_pieces)
def extremes(
    x: Pointer, y: Pointer, n: int, lengths: Pointer, sequences: int, steps: int, status: Pointer
) -> None:
    """Find least and largest number, or 0, of each of ``PIECES`` pieces: a block for each.

    The fields are those of the CPU's kernel.
    """
    if lengths != 0:
        longest = 0
        for i in range(sequences):
            longest = max(longest, int(_load_i32(lengths, i)))
        n = n // max(1, steps) * min(longest, steps)
    for piece in range(cuda.blockIdx.x, PIECES, cuda.gridDim.x):
        begin, end = n * piece // PIECES, n * (piece + 1) // PIECES
        low, high = _F(0), _F(0)
        for i in range(begin + cuda.threadIdx.x, end, cuda.blockDim.x):
            number = load_f32(x, i)
            low, high = _lower(low, number), _higher(high, number)
        low, high = _least(low), _most(high)
        if cuda.threadIdx.x == 0:
            store_f32(y, 2 * piece, low)
            store_f32(y, 2 * piece + 1, high)


def _once(f: Fields, limits: Limits) -> Launch:
    return Launch((1, 1, 1), (1, 1, 1))


@cuda_kernel(_once)
def scale_and_zero(x: Pointer, scale: Pointer, zero: Pointer, status: Pointer) -> None:
    """Give scale (float32) and zero point (uint8) for the extremes of all pieces."""
    least, most = _F(0), _F(0)
    for piece in range(PIECES):
        least = _lower(least, load_f32(x, 2 * piece))
        most = _higher(most, load_f32(x, 2 * piece + 1))
    step = _F(1) if most == least else (most - least) / _F(255)
    point = min(max(_rint(-least / step), _F(0)), _F(255))
    store_f32(scale, 0, step)
    _store_u8(zero, 0, np.uint8(point))
