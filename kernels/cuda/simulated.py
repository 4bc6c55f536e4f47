"""Loads and stores in numba's simulator: Python functions on memory of the process.

They refuse addresses outside of what the simulated device has allocated, as a memory checker does:
numba's simulator would crash.
"""

from __future__ import annotations

import bisect
import ctypes
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np


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


_ACCESSES = {kind: _accesses(kind) for kind in _TYPES}
LOAD = {kind: load for kind, (load, _) in _ACCESSES.items()}
STORE = {kind: store for kind, (_, store) in _ACCESSES.items()}


def _rounding(kind: Any) -> Callable[[Any], Any]:
    def rounded(value: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.float32(np.array(value, np.float32).astype(kind))

    return rounded


ROUND = {"f16": _rounding(np.float16), "bf16": _rounding(ml_dtypes.bfloat16)}
"""Roundings of float32 to types of 16 bits, whose numbers are float32."""


def bits_of(value: Any) -> np.uint32:
    """Return the bits of a float32."""
    return np.float32(value).view(np.uint32)


def float_of(bits: Any) -> np.float32:
    """Return the float32 of bits."""
    return np.uint32(bits).view(np.float32)
