"""Access to elements by size, dense runs, and walks over axes, for kernels that move elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit

from .. import simd
from ..registry import Pointer
from ..simd import load_i64, load_u8, store_i64, store_u8, vload, vload_first, vstore, vstore_first
from ..target import LANES

RANK = 8
VECTOR = 4 * LANES
"""Bytes of a vector."""


def element(itemsize: int) -> tuple[Any, Any]:
    """Return load and store of elements of 1, 2, 4 or 8 bytes."""
    kind = {1: "u8", 2: "u16", 4: "i32", 8: "i64"}[itemsize]
    return getattr(simd, f"load_{kind}"), getattr(simd, f"store_{kind}")


def run_copier(itemsize: int) -> Callable[..., None]:
    """Return ``copy_run(target, source, n)`` for n dense elements."""
    load, store = element(itemsize)
    wide = LANES * 4 // itemsize

    @njit
    def copy_run(target: Pointer, source: Pointer, n: int) -> None:
        if n == 1:
            store(target, 0, load(source, 0))
            return
        i = 0
        while i + wide <= n:
            vstore(target + i * itemsize, 0, vload(source + i * itemsize, 0))
            i += wide
        if itemsize >= 4:
            # Whole 32-bit words are left.
            words = (n - i) * (itemsize // 4)
            at, out = source + i * itemsize, target + i * itemsize
            vstore_first(out, 0, vload_first(at, 0, words), words)
        else:
            while i < n:
                store(target, i, load(source, i))
                i += 1

    return copy_run


@njit
def copy_bytes(target: Pointer, source: Pointer, n: int) -> None:
    """Copy n bytes that do not overlap."""
    i = 0
    while i + VECTOR <= n:
        vstore(target + i, 0, vload(source + i, 0))
        i += VECTOR
    if i == n:
        return
    if n >= VECTOR:
        # The last vector is moved back to end with the bytes.
        vstore(target + n - VECTOR, 0, vload(source + n - VECTOR, 0))
        return
    words = n // 4
    vstore_first(target, 0, vload_first(source, 0, words), words)
    for j in range(4 * words, n):
        store_u8(target, j, load_u8(source, j))


@njit
def start_odometer(dims: Pointer, position: Pointer, index: int) -> None:
    """Set position to the coordinates of a flat index over ``RANK`` axes."""
    for axis in range(RANK - 1, -1, -1):
        n = load_i64(dims, axis)
        store_i64(position, axis, index % n)
        index //= n


@njit
def advance(dims: Pointer, position: Pointer, strides: Pointer, at: int) -> Any:
    """Step position to the next element; returns its offset, given that of the last."""
    axis = RANK - 1
    while axis >= 0:
        next_ = load_i64(position, axis) + 1
        at += load_i64(strides, axis)
        if next_ < load_i64(dims, axis):
            store_i64(position, axis, next_)
            return at
        at -= next_ * load_i64(strides, axis)
        store_i64(position, axis, 0)
        axis -= 1
    return at


@njit
def offset_of(position: Pointer, strides: Pointer) -> Any:
    """Offset of coordinates."""
    at = 0
    for axis in range(RANK):
        at += load_i64(position, axis) * load_i64(strides, axis)
    return at
