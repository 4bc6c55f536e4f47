"""Blocks of a binding: memory that steps let grow, and that the next run finds as large."""

from __future__ import annotations

import ctypes
import weakref

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
        words = np.zeros((count, BLOCK_COLUMNS), np.int64)
        self.addresses = address_of(words) + words.strides[0] * np.arange(count)
        # At the end of the process a run in another thread may still write.
        weakref.finalize(self, _give_back, words).atexit = False


def _give_back(words: np.ndarray) -> None:
    for address in words[:, BLOCK_ADDRESS].tolist():
        _free(ctypes.c_void_p(address))
