"""Loads and stores in numba's simulator: Python functions on memory of the process.

They refuse addresses outside of what the simulated device has allocated, as a memory checker does:
numba's simulator would crash.
"""

from __future__ import annotations

import bisect
import ctypes
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

_starts: list[int] = []
_ends: list[int] = []


def allow(address: int, size: int) -> None:
    """Let kernels access so many bytes from an address on."""
    at = bisect.bisect(_starts, address)
    _starts.insert(at, address)
    _ends.insert(at, address + size)


def forbid(address: int) -> None:
    """Let kernels access what begins at an address no more."""
    at = bisect.bisect_left(_starts, address)
    if at < len(_starts) and _starts[at] == address:
        del _starts[at], _ends[at]


def check_bounds(address: int, size: int) -> None:
    """Refuse an access outside of what is allowed.

    Raises
    ------
    IndexError
        The kernel is wrong, or what it was told of its operands.
    """
    at = bisect.bisect(_starts, address) - 1
    if at < 0 or address + size > _ends[at]:
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
