"""Blocks of a binding: memory that steps let grow, and that the next run finds as large."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import numpy as np

from ..kernels.abi import BLOCK_ADDRESS, BLOCK_COLUMNS
from ..kernels.record import address_of

_free = ctypes.CDLL(None).free


class Blocks:
    """Blocks, which begin without memory, and lose it with this object.

    Parameters
    ----------
    count : int

    Attributes
    ----------
    addresses : ndarray of int64
        Where the words of each block lie (``kernels.cpu.growing``).
    """

    def __init__(self, count: int) -> None:
        self._words = np.zeros((count, BLOCK_COLUMNS), np.int64)
        self.addresses = address_of(self._words) + self._words.strides[0] * np.arange(count)

    # Not weakref.finalize: Python 3.11 walks those at its end while other threads may add some.
    # An object may outlive the names of its module, so it does not look ``sys`` up.
    def __del__(self, is_ending: Callable[[], bool] = sys.is_finalizing) -> None:
        if is_ending():  # a run in another thread may still write
            return
        for address in self._words[:, BLOCK_ADDRESS].tolist():
            _free(ctypes.c_void_p(address))
