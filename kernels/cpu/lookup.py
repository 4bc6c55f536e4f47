"""Look-up of elements in tables: values of keys, and columns of rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer, kernel_factory
from ..simd import load_i32, load_i64, splat, store_f32, vstore, vstore_first
from ..target import LANES
from .indices import out_of_range
from .trees import float_bits

MULTIPLIER = 0x9E3779B97F4A7C15
"""Of Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4)."""
_CLEARED = 64  # elements whose rows are cleared at a time, while they are in the cache
_LIMIT = 2.0**63
_ZERO, _ONE = np.float32(0), np.float32(1)
_COPIED = {1: "u8", 2: "i16", 4: "i32", 8: "i64"}
_FACTOR = np.uint64(MULTIPLIER)


class HashTable(NamedTuple):
    """Numbers of different keys, none of them NaN, with linear probing.

    A number's place is looked for from that of the upper bits (all but ``shift``) of its bits times
    `MULTIPLIER` on, ``mask`` being the last place. ``places`` (int32) has the number of the key
    there, -1 for none.
    """

    keys: Pointer
    places: Pointer
    shift: int
    mask: int


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


def _make_find(kind: str) -> Any:
    """Make the function that finds the number of a key in a hash table, -1 where there is none."""
    load, bits = getattr(simd, f"load_{kind}"), _bits_of(kind)

    @njit
    def find(value: Any, table: HashTable) -> Any:
        at = np.int64((np.uint64(bits(value)) * _FACTOR) >> np.uint64(table.shift))
        place = np.int64(load_i32(table.places, at))
        while place >= 0 and load(table.keys, at) != value:
            at = (at + 1) & table.mask
            place = np.int64(load_i32(table.places, at))
        return place

    return find


@kernel_factory
def lookup(kind: str, size: int) -> Callable[..., int]:
    """y[i] = values[j] for the key j that x[i] equals; values have ``size`` bytes.

    After the values of all keys, ``length`` of them, come that of NaN and that of other numbers.
    Elements are split into parts.
    """
    load, find = getattr(simd, f"load_{kind}"), _make_find(kind)
    take, put = _mover(size)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, count: int, table: HashTable, values: Pointer, length: int,
    ) -> int:  # fmt: skip
        for i in range(count * part // parts, count * until // parts):
            value = load(x, i)
            if value != value:
                put(y, i, take(values, length))
                continue
            place = find(value, table)
            put(y, i, take(values, place if place >= 0 else length + 1))
        return 0

    return body


@kernel_factory
def one_hot(kind: str) -> Callable[..., int]:
    """y[i, j] = 1 where x[i] is category j, else 0: rows of ``width`` float32.

    The table has int64; other numbers are cut off to such. Elements are split into parts.
    """
    load, find = getattr(simd, f"load_{kind}"), _make_find("i64")
    has_fractions = kind[0] == "f"

    @njit
    def clear(y: Pointer, count: int) -> None:
        for j in range(0, count - LANES + 1, LANES):
            vstore(y, j, splat(_ZERO))
        whole = count // LANES * LANES
        vstore_first(y, whole, splat(_ZERO), count - whole)

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, y: Pointer, count: int, width: int, table: HashTable,
    ) -> int:  # fmt: skip
        end = count * until // parts
        for first in range(count * part // parts, end, _CLEARED):
            last = min(first + _CLEARED, end)
            clear(y + first * width * 4, (last - first) * width)
            for i in range(first, last):
                value = load(x, i)
                if has_fractions and not abs(value) < _LIMIT:
                    continue
                place = find(np.int64(value), table)
                if place >= 0:
                    store_f32(y, i * width + place, _ONE)
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
                return out_of_range(load_i64(indices, j))
        for row in range(rows * part // parts, rows * until // parts):
            for j in range(count):
                at = load_i64(indices, j)
                at += size if at < 0 else 0
                put(y, row * count + j, take(x, row * size + at))
        return 0

    return body
