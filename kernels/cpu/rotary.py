"""Rotary embedding: pairs of elements turned by an angle that grows with the position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from ..registry import Pointer, kernel_factory
from ..shuffle import deinterleave, interleave
from ..simd import (
    fma,
    load_f32,
    load_i64,
    stack_words,
    store_f32,
    vload,
    vload_first,
    vstore,
    vstore_first,
)
from ..target import LANES
from .indices import out_of_range
from .rows import copy_floats

_deinterleave, _interleave = deinterleave(4, 2), interleave(4, 2)
_VECTOR = LANES * 4  # bytes


@njit
def _turned(a: Any, b: Any, cos: Any, sin: Any) -> Any:
    """(a cos - b sin, b cos + a sin)."""
    return fma(a, cos, -(b * sin)), fma(b, cos, a * sin)


@njit
def _halves(x: Pointer, y: Pointer, cos: Pointer, sin: Pointer, half: int) -> None:
    """Turn pairs of which one half of a row has the first elements, the other the second."""
    for i in range(0, half, LANES):
        n = half - i
        a, b = vload_first(x, i, n), vload_first(x, half + i, n)
        first, second = _turned(a, b, vload_first(cos, i, n), vload_first(sin, i, n))
        vstore_first(y, i, first, n)
        vstore_first(y, half + i, second, n)


@njit
def _neighbours(x: Pointer, y: Pointer, cos: Pointer, sin: Pointer, half: int) -> None:
    """Turn pairs of neighbouring elements."""
    block = stack_words(LANES)  # two vectors
    i = 0
    while i + LANES <= half:
        _deinterleave(x + i * 8, _VECTOR, block, _VECTOR)
        first, second = _turned(vload(block, 0), vload(block, LANES), vload(cos, i), vload(sin, i))
        vstore(block, 0, first)
        vstore(block, LANES, second)
        _interleave(block, _VECTOR, y + i * 8, _VECTOR)
        i += LANES
    while i < half:
        a, b = load_f32(x, 2 * i), load_f32(x, 2 * i + 1)
        c, s = load_f32(cos, i), load_f32(sin, i)
        store_f32(y, 2 * i, a * c - b * s)
        store_f32(y, 2 * i + 1, b * c + a * s)
        i += 1


@kernel_factory
def rotary(interleaved: int) -> Callable[..., int]:
    """Turn the first 2 ``half`` elements of each row; rows of ``size`` elements are dense.

    ``cos`` and ``sin`` have ``half`` elements for each of ``limit`` positions, which ``positions``
    (int64, dense; batch x rows) name; where it is null, those of row i of batch b begin
    ``b * c_batch + i * half`` elements on. Rows of all batches are split into parts.
    """
    turn = _neighbours if interleaved else _halves

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, batch: int, heads: int, rows: int, size: int,
        x_batch: int, x_head: int, x_row: int, y_batch: int, y_head: int, y_row: int,
        half: int, cos: Pointer, sin: Pointer, c_batch: int, positions: Pointer, limit: int,
    ) -> int:  # fmt: skip
        for index in range(batch * rows * part // parts, batch * rows * until // parts):
            b, i = index // rows, index % rows
            at = b * c_batch + i * half
            if positions != 0:
                position = load_i64(positions, index)
                if position < 0 or position >= limit:
                    return out_of_range(position)
                at = position * half
            for head in range(heads):
                source = x + (b * x_batch + head * x_head + i * x_row) * 4
                target = y + (b * y_batch + head * y_head + i * y_row) * 4
                turn(source, target, cos + at * 4, sin + at * 4, half)
                copy_floats(source + 8 * half, target + 8 * half, size - 2 * half)
        return 0

    return body
