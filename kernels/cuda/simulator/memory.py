"""Global memory of the simulator: arrays at addresses, and no access anywhere else."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

_FIRST = 1 << 40
_GAP = 1 << 20
"""Bytes without an array between two: what runs over the end of one reaches none."""


class Memory:
    """Arrays that kernels reach by address."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._arrays: list[np.ndarray] = []
        self._next = _FIRST

    def place(self, array: np.ndarray, offset: int = 0) -> int:
        """Give an array an address, 256 bytes aligned but for an offset.

        Parameters
        ----------
        array : ndarray
            Contiguous; kernels write into it.
        offset : int
            Bytes that its address is off by.

        Returns
        -------
        int
            Address of its first element.
        """
        assert array.flags.c_contiguous
        address = self._next + offset
        self._starts.append(address)
        self._arrays.append(array.reshape(-1).view(np.uint8))
        self._next += (array.nbytes + _GAP + 255) // 256 * 256
        return address

    def view(self, address: int, size: int) -> np.ndarray:
        """Return as many bytes as a power of two at an address.

        Raises
        ------
        IndexError
            They are not all inside one array, or not aligned to their number.
        """
        if address % size:
            raise IndexError(f"{size} bytes at {address:#x}, which is not aligned to them")
        return self.part(address, size)

    def part(self, address: int, size: int) -> np.ndarray:
        """Return the bytes at an address, aligned or not; none are anywhere.

        Raises
        ------
        IndexError
            They are not all inside one array.
        """
        if not size:
            return np.empty(0, np.uint8)
        i = bisect_right(self._starts, address) - 1
        offset = address - self._starts[i] if i >= 0 else 0
        if i < 0 or size > self._arrays[i].size - offset:
            raise IndexError(f"{size} bytes at {address:#x}, {offset} bytes into array {i}")
        return self._arrays[i][offset : offset + size]
