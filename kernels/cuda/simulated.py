"""Loads and stores in numba's simulator: Python functions on memory of the process.

They refuse addresses outside of what the simulated device has allocated, as a memory checker does:
numba's simulator would crash.
"""

from __future__ import annotations

import bisect
import ctypes
import functools
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from ..narrow_tables import (
    FLOATS,
    INTEGERS,
    MODES,
    POWER_MODES,
    STORED_MODES,
    bytes_of,
    numbers_of,
)


class _Bounds(NamedTuple):
    """Begins and ends of what kernels may access, in order."""

    starts: list[int]
    ends: list[int]


class _Memory:
    """What kernels may access now.

    It is replaced as a whole: a collection may give memory back while kernels run in other threads.
    """

    bounds = _Bounds([], [])
    lock = threading.RLock()


def allow(address: int, size: int) -> None:
    """Let kernels access so many bytes from an address on."""
    with _Memory.lock:
        starts, ends = map(list, _Memory.bounds)
        at = bisect.bisect(starts, address)
        starts.insert(at, address)
        ends.insert(at, address + size)
        _Memory.bounds = _Bounds(starts, ends)


def forbid(address: int) -> None:
    """Let kernels access what begins at an address no more."""
    with _Memory.lock:
        starts, ends = map(list, _Memory.bounds)
        at = bisect.bisect_left(starts, address)
        if at < len(starts) and starts[at] == address:
            del starts[at], ends[at]
            _Memory.bounds = _Bounds(starts, ends)


def check_bounds(address: int, size: int) -> None:
    """Refuse an access outside of what is allowed.

    Raises
    ------
    IndexError
        The kernel is wrong, or what it was told of its operands.
    """
    starts, ends = _Memory.bounds
    at = bisect.bisect(starts, address) - 1
    if at < 0 or address + size > ends[at]:
        raise IndexError(f"access of {size} bytes at {address:#x}, outside of all buffers")


def check(address: int, size: int) -> None:
    """Refuse an access outside of what is allowed, or at an address that is not aligned.

    Raises
    ------
    IndexError
        The kernel is wrong, or what it was told of its operands.
    """
    check_bounds(address, size)
    if address % size:
        raise IndexError(f"access of {size} bytes at {address:#x}, which is not aligned")


_TYPES: dict[str, tuple[Any, Any]] = {
    "f32": (np.float32, np.float32),
    "f64": (np.float64, np.float64),
    "f16": (np.float16, np.float32),
    "bf16": (ml_dtypes.bfloat16, np.float32),
    "b8": (np.uint8, np.uint8),
} | {
    f"{name[0]}{bits}": (getattr(np, f"{name}{bits}"),) * 2
    for name in ("int", "uint")
    for bits in (8, 16, 32, 64)
}


def _accesses(kind: str) -> tuple[Callable[..., Any], Callable[..., None]]:
    stored, number = _TYPES[kind]
    size = np.dtype(stored).itemsize

    def load(address: int, index: int) -> Any:
        at = int(address) + int(index) * size
        check(at, size)
        value = number(np.frombuffer(ctypes.string_at(at, size), stored)[0])
        return number(value != 0) if kind == "b8" else value

    def store(address: int, index: int, value: Any) -> None:
        at = int(address) + int(index) * size
        check(at, size)
        with np.errstate(all="ignore"):
            data = np.array(value).astype(stored).tobytes()
        ctypes.memmove(at, data, size)

    return load, store


def _code(value: Any, name: str, mode: str) -> Any:
    """Return the byte of a float of few bits."""
    bits = int(np.float32(value).view(np.uint32))
    return bytes_of(name, mode)[bits >> 16 | (bits & 0xFFFF != 0)]


def _narrow_accesses(name: str) -> tuple[Callable[..., Any], Callable[..., None]]:
    load_byte, store_byte = _accesses("u8")

    def load(address: int, index: int) -> Any:
        byte = load_byte(address, index)
        return low_bits(name, byte) if name in INTEGERS else numbers_of(name)[byte]

    def store(address: int, index: int, value: Any) -> None:
        if name in INTEGERS:
            store_byte(address, index, int(value) & ((1 << INTEGERS[name]) - 1))
        else:
            store_byte(address, index, _code(value, name, STORED_MODES[name]))

    return load, store


def low_bits(name: str, value: Any) -> Any:
    """Return the number that the low bits of a whole number are."""
    bits = INTEGERS[name]
    low = int(value) & ((1 << bits) - 1)
    if name[0] == "u":
        return np.uint8(low)
    return np.int8(low - (1 << bits) if low >> (bits - 1) else low)


_ACCESSES = {kind: _accesses(kind) for kind in _TYPES} | {
    name: _narrow_accesses(name) for name in (*FLOATS, *INTEGERS)
}
LOAD = {kind: load for kind, (load, _) in _ACCESSES.items()}
STORE = {kind: store for kind, (_, store) in _ACCESSES.items()}
SIZES = {kind: np.dtype(stored).itemsize for kind, (stored, _) in _TYPES.items()}
SIZES |= dict.fromkeys((*FLOATS, *INTEGERS), 1)


@functools.cache
def several(kind: str, count: int) -> tuple[Callable[..., Any], Callable[..., None]]:
    """Return load and store of ``count`` neighbouring elements, at a multiple of their bytes."""
    load_one, store_one, size = LOAD[kind], STORE[kind], SIZES[kind]

    def aligned(address: int, index: int) -> None:
        if (int(address) + int(index) * size) % min(16, count * size):
            raise IndexError(f"access of {count * size} bytes at {address:#x}, not aligned")

    def load(address: int, index: int) -> Any:
        aligned(address, index)
        return tuple(load_one(address, index + i) for i in range(count))

    def store(address: int, index: int, values: Any) -> None:
        aligned(address, index)
        for i, value in enumerate(values):
            store_one(address, index + i, value)

    return load, store


def _rounding(kind: Any) -> Callable[[Any], Any]:
    def rounded(value: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.float32(np.array(value, np.float32).astype(kind))

    return rounded


def _narrow_rounding(name: str, mode: str) -> Callable[[Any], Any]:
    def rounded(value: Any) -> Any:
        return numbers_of(name)[_code(value, name, mode)]

    return rounded


ROUND = {"f16": _rounding(np.float16), "bf16": _rounding(ml_dtypes.bfloat16)} | {
    f"{name}_{mode}": _narrow_rounding(name, mode)
    for name in FLOATS
    for mode in (POWER_MODES if name == "e8m0" else MODES)
}
"""Roundings of float32 to types of 16 bits and fewer, whose numbers are float32."""


def bits_of(value: Any) -> np.uint32:
    """Return the bits of a float32."""
    return np.float32(value).view(np.uint32)


def long_bits_of(value: Any) -> np.int64:
    """Return the bits of a float64."""
    return np.float64(value).view(np.int64)


def nanoseconds() -> np.int64:
    """Return the time of a clock."""
    return np.int64(time.perf_counter_ns())


def float_of(bits: Any) -> np.float32:
    """Return the float32 of bits."""
    return np.uint32(bits).view(np.float32)
