"""Lanes of floats: vectors of float32, or single numbers of both types, by the same functions.

A kernel that is written with the functions of `lanes_of` is there for both types, and one with
those of `numbers_of`, too, for few numbers, which are not worth a vector.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from . import simd
from .registry import Pointer
from .target import LANES


class Lanes(NamedTuple):
    """Functions of a type: on numbers, and on as many of them as a vector has.

    Attributes
    ----------
    number, itemsize, width
        The type, its bytes, and the numbers of a vector.
    load, store
        Of a number.
    load_all, store_all
        Of a vector.
    load_first, store_first, splat, fma, maximum
        As in ``simd``; a NaN of the first operand of a maximum stays.
    """

    number: Any
    itemsize: int
    width: int
    load: Any
    store: Any
    load_all: Any
    store_all: Any
    load_first: Any
    store_first: Any
    splat: Any
    fma: Any
    maximum: Any


@njit
def _same(value: Any) -> Any:
    return value


@njit
def _multiply_add(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@njit
def _larger(a: Any, b: Any) -> Any:
    return b if b > a else a


def _single(number: Any, itemsize: int, load: Any, store: Any) -> Lanes:
    """Functions of single numbers."""

    @njit
    def load_one(x: Pointer, index: int, left: int) -> Any:
        return load(x, index)

    @njit
    def store_one(x: Pointer, index: int, value: Any, left: int) -> None:
        store(x, index, value)

    return Lanes(
        number, itemsize, 1, load, store, load, store, load_one, store_one, _same, _multiply_add,
        _larger,
    )  # fmt: skip


_NUMBERS = {
    "f32": _single(np.float32, 4, simd.load_f32, simd.store_f32),
    "f64": _single(np.float64, 8, simd.load_f64, simd.store_f64),
    "i8": _single(np.int8, 1, simd.load_i8, simd.store_i8),
    "u8": _single(np.uint8, 1, simd.load_u8, simd.store_u8),
}
_VECTORS = Lanes(
    np.float32, 4, LANES, simd.load_f32, simd.store_f32, simd.vload, simd.vstore, simd.vload_first,
    simd.vstore_first, simd.splat, simd.fma, simd.vmax,
)  # fmt: skip


def lanes_of(dtype: str) -> Lanes:
    """Return the functions of ``"f32"`` or ``"f64"`` that take the most numbers at a time."""
    return _VECTORS if dtype == "f32" else _NUMBERS[dtype]


def numbers_of(dtype: str) -> Lanes:
    """Return the functions of single numbers, also of ``"i8"`` and ``"u8"``."""
    return _NUMBERS[dtype]
