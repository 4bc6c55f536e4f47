"""Look-up of elements in tables: values of keys, and columns of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from .. import simd
from ..registry import INDEX_OUT_OF_RANGE, Pointer, kernel_factory
from ..simd import load_i32, load_i64
from .trees import float_bits

MULTIPLIER = 0x9E3779B97F4A7C15
"""Of Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4)."""
_COPIED = {1: "u8", 2: "i16", 4: "i32", 8: "i64"}
_FACTOR = np.uint64(MULTIPLIER)


def _mover(size: int) -> tuple[Any, Any]:
    """Return functions that load and store elements of so many bytes."""
    kind = _COPIED[size]
    return getattr(simd, f"load_{kind}"), getattr(simd, f"store_{kind}")


def _bits_of(kind: str) -> Any:
    """Make the function that gives the bits of a number, those of both zeros alike."""
    zero = {"f32": np.float32, "f64": np.float64}.get(kind, np.int64)(0)

    @njit
    def of_float(value: Any) -> Any:
        return np.int64(float_bits(value + zero))

    @njit
    def of_integer(value: Any) -> Any:
        return np.int64(value)

    return of_float if kind[0] == "f" else of_integer


@kernel_factory
def lookup(kind: str, size: int) -> Callable[..., int]:
    """y[i] = values[j] for the key j that x[i] equals; values have ``size`` bytes.

    ``keys``, of type ``kind``, are those of a hash table with linear probing: a number's place is
    looked for from that of the upper bits (all but ``shift``) of its bits times `MULTIPLIER` on,
    ``mask`` being the last place. ``places`` (int32) has the number of the key there, -1 for none.
    After the values of all keys, ``length`` of them, come that of NaN and that of other numbers.
    Elements are split into parts.
    """
    load, bits = getattr(simd, f"load_{kind}"), _bits_of(kind)
    take, put = _mover(size)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, count: int, keys: Pointer, places: Pointer, values: Pointer,
        length: int, shift: int, mask: int,
    ) -> int:  # fmt: skip
        for i in range(count * part // parts, count * until // parts):
            value = load(x, i)
            if value != value:
                put(y, i, take(values, length))
                continue
            at = np.int64((np.uint64(bits(value)) * _FACTOR) >> np.uint64(shift))
            place = np.int64(load_i32(places, at))
            while place >= 0 and load(keys, at) != value:
                at = (at + 1) & mask
                place = np.int64(load_i32(places, at))
            put(y, i, take(values, place if place >= 0 else length + 1))
        return 0

    return body


@kernel_factory
def take_columns(size: int) -> Callable[..., int]:
    """y[i, j] = x[i, indices[j]], elements having ``size`` bytes and indices 64 bits.

    Negative indices count from the end; others beyond the ends give error 1. Rows are split into
    parts.
    """
    take, put = _mover(size)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, indices: Pointer, y: Pointer, rows: int, size: int, count: int,
    ) -> int:  # fmt: skip
        for j in range(count):
            if not -size <= load_i64(indices, j) < size:
                return INDEX_OUT_OF_RANGE
        for row in range(rows * part // parts, rows * until // parts):
            for j in range(count):
                at = load_i64(indices, j)
                at += size if at < 0 else 0
                put(y, row * count + j, take(x, row * size + at))
        return 0

    return body
