"""Lanes of floats: vectors of float32, or single float64, by the same functions.

A kernel that is written with the functions of `lanes_of` is there for both types.
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
    load_first, store_first, splat, fma, maximum
        As in ``simd``; a NaN of the first operand of a maximum stays.
    """

    number: Any
    itemsize: int
    width: int
    load: Any
    store: Any
    load_first: Any
    store_first: Any
    splat: Any
    fma: Any
    maximum: Any


@njit
def _load_one(x: Pointer, index: int, left: int) -> Any:
    return simd.load_f64(x, index)


@njit
def _store_one(x: Pointer, index: int, value: Any, left: int) -> None:
    simd.store_f64(x, index, value)


@njit
def _same(value: Any) -> Any:
    return value


@njit
def _multiply_add(a: Any, b: Any, c: Any) -> Any:
    return a * b + c


@njit
def _larger(a: Any, b: Any) -> Any:
    return b if b > a else a


_LANES = {
    "f32": Lanes(
        np.float32, 4, LANES, simd.load_f32, simd.store_f32, simd.vload_first, simd.vstore_first,
        simd.splat, simd.fma, simd.vmax,
    ),
    "f64": Lanes(
        np.float64, 8, 1, simd.load_f64, simd.store_f64, _load_one, _store_one, _same,
        _multiply_add, _larger,
    ),
}  # fmt: skip


def lanes_of(dtype: str) -> Lanes:
    """Return the functions of ``"f32"`` or ``"f64"``."""
    return _LANES[dtype]
