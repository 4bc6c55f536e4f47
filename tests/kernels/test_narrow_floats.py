"""Floats of few bits: numbers and vectors have the bits that ml_dtypes' conversions have."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numba import njit
from sardonyx.kernels import narrow, simd
from sardonyx.kernels.narrow_floats import NAMES
from sardonyx.kernels.narrow_tables import bytes_of, numbers_of
from sardonyx.kernels.target import LANES
from sardonyx.kernels.vector_memory import VECTOR_MEMORY


def every_half() -> np.ndarray:
    """Float32 of all upper halves, with lower ones that decide how they are rounded."""
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    return np.concatenate([upper | lower for lower in (0, 1, 0x8000, 0xFFFF)]).view(np.float32)


def bytes_wanted(x: np.ndarray, name: str, mode: str) -> np.ndarray:
    bits = x.view(np.uint32)
    return bytes_of(name, mode)[(bits >> 16) | ((bits & 0xFFFF) != 0)]


def same_bits(found: np.ndarray, expected: np.ndarray) -> bool:
    return bool((found.view(np.uint32) == expected.view(np.uint32)).all())


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_rounded_as_by_ml_dtypes(name: str) -> None:
    (load, store), (vload, vstore, _, _) = narrow.MEMORY[name], VECTOR_MEMORY[name]
    saturate, free = (narrow.ROUNDING[f"to_{name}_{mode}"] for mode in narrow.MODES)
    vsaturate, vfree = (narrow.VECTOR_ROUNDING[f"to_{name}_{mode}"] for mode in narrow.MODES)

    @njit
    def one_by_one(x: Any, a: Any, b: Any, codes: Any, back: Any, count: Any) -> None:
        for i in range(count):
            value = simd.load_f32(x, i)
            simd.store_f32(a, i, saturate(value))
            simd.store_f32(b, i, free(value))
            store(codes, i, value)
            simd.store_f32(back, i, load(codes, i))

    @njit
    def by_vectors(x: Any, a: Any, b: Any, codes: Any, back: Any, count: Any) -> None:
        for i in range(0, count, LANES):
            value = simd.vload(x, i)
            simd.vstore(a, i, vsaturate(value))
            simd.vstore(b, i, vfree(value))
            vstore(codes, i, value)
            simd.vstore(back, i, vload(codes, i))

    x = every_half()
    for compute in (one_by_one, by_vectors):
        a, b, back = (np.empty_like(x) for _ in range(3))
        codes = np.empty(x.size, np.uint8)
        compute(*(each.ctypes.data for each in (x, a, b, codes, back)), x.size)
        for found, mode in ((a, "saturate"), (b, "free")):
            assert same_bits(found, numbers_of(name)[bytes_wanted(x, name, mode)]), mode
        assert (codes == bytes_wanted(x, name, "free")).all()
        assert same_bits(back, numbers_of(name)[codes])


@pytest.mark.parametrize("name", NAMES)
def test_every_byte_is_read_as_its_number(name: str) -> None:
    load, vload = narrow.MEMORY[name][0], VECTOR_MEMORY[name][0]

    @njit
    def read(codes: Any, one: Any, lanes: Any) -> None:
        for i in range(256):
            simd.store_f32(one, i, load(codes, i))
        for i in range(0, 256, LANES):
            simd.vstore(lanes, i, vload(codes, i))

    codes, found = np.arange(256, dtype=np.uint8), np.empty((2, 256), np.float32)
    read(codes.ctypes.data, found[0].ctypes.data, found[1].ctypes.data)
    assert same_bits(found[0], numbers_of(name))
    assert same_bits(found[1], numbers_of(name))
