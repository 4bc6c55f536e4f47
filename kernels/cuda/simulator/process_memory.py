"""Memory of the process as global memory of the simulator, where a simulated device has its own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np


class ProcessMemory:
    """Bytes at addresses of the process; takes the place of `memory.Memory`.

    Parameters
    ----------
    check : callable
        Given an address and a number of bytes, raises `IndexError` where kernels may not go.
    """

    def __init__(self, check: Callable[[int, int], None]) -> None:
        self._check = check

    def view(self, address: int, size: int) -> np.ndarray:
        """Return bytes at an address.

        Raises
        ------
        IndexError
            They are not aligned to their number, or none that kernels may access.
        """
        if address % size:
            raise IndexError(f"{size} bytes at {address:#x}, which is not aligned to them")
        return self.part(address, size)

    def part(self, address: int, size: int) -> np.ndarray:
        """Return bytes at an address, aligned or not; none are anywhere."""
        if not size:
            return np.empty(0, np.uint8)
        self._check(address, size)
        return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
