"""Memory of runs: arenas of activations, arrays at an address, and prefaulting of pages."""

from __future__ import annotations

import ctypes
import mmap
from functools import cache
from typing import Any

import numpy as np

from ..errors import KernelError
from .element_types import NARROW

CACHE_LINE = 64
_HUGE_PAGE = 2 << 20
# Linux since 5.14; elsewhere the call fails and pages are mapped as they are touched.
_MADV_POPULATE_READ, _MADV_POPULATE_WRITE = 22, 23

_MOST_KEPT = (32 << 20) - (64 << 10)
"""Bytes of the largest block that changes what glibc keeps, less what its own words take."""
_kept = [128 << 10]
"""Bytes of the largest block that was freed to that end; what glibc begins with."""

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_madvise = getattr(_libc, "madvise", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)  # of glibc

_FOREIGN = {"bfloat16", *NARROW}
"""Types that numpy's array interface has no word for."""


@cache
def _type_text(dtype: np.dtype) -> str:
    return f"|u{dtype.itemsize}" if dtype.name in _FOREIGN else dtype.str


class _Memory:
    """Memory at an address, for numpy's array interface: read-only, kept by its owner if any."""

    def __init__(
        self, address: int, shape: tuple[int, ...], dtype: np.dtype, steps: Any, owner: Any
    ) -> None:
        self._owner = owner
        self.__array_interface__ = {
            "data": (address, True),
            "shape": shape,
            "typestr": _type_text(dtype),
            "strides": steps,
            "version": 3,
        }


def memory_view(
    address: int, shape: tuple[int, ...], dtype: np.dtype, steps: tuple[int, ...], owner: Any
) -> np.ndarray:
    """Return a read-only array at an address, ``steps`` being in bytes; it keeps its owner."""
    return np.asarray(_Memory(address, shape, dtype, steps, owner)).view(dtype)


def allocated(shape: tuple[int, ...], dtype: str, purpose: str) -> np.ndarray:
    """Return memory of a shape.

    Raises
    ------
    KernelError
        There is not enough; says for which ``purpose``.
    """
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError) as error:
        raise KernelError(f"no memory for {purpose} of shape {shape} and type {dtype}") from error


def new_arena(size: int) -> np.ndarray:
    """Return ``size`` bytes that begin at a huge page and consist of them where they fit.

    A first run faults once for 2 MiB instead of 512 times, which is four times as fast.

    Raises
    ------
    KernelError
        There is not enough memory.
    """
    if size < _HUGE_PAGE:
        return allocated((size,), "uint8", "an arena")
    try:
        # Only what is touched takes memory: the part before the first huge page never is.
        pages = mmap.mmap(-1, size + _HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, ValueError, OverflowError) as error:
        raise KernelError(f"no memory for an arena of {size} bytes") from error
    whole = np.frombuffer(pages, np.uint8)
    start = -whole.__array_interface__["data"][0] % _HUGE_PAGE
    arena = whole[start : start + size]
    if hasattr(mmap, "MADV_HUGEPAGE"):
        _advise(arena, mmap.MADV_HUGEPAGE)
    return arena


def new_weights(size: int) -> np.ndarray:
    """Return ``size`` bytes of zeros for weights, at a cache line and in huge pages where they fit.

    Vectors of weights that lie otherwise are in two lines each, and the pages of a stream of them,
    which are read once in a run, are looked up anew: with pages of 4 KiB that takes as long as
    reading them, in virtual machines.
    """
    room = new_arena(size + CACHE_LINE)
    first = -room.__array_interface__["data"][0] % CACHE_LINE
    weights = room[first : first + size]
    if room.nbytes < _HUGE_PAGE:
        weights[:] = 0
    return weights


def prefault(array: np.ndarray, *, writable: bool) -> None:
    """Let the system map all pages of an array now, instead of one by one when it is used."""
    _advise(array, _MADV_POPULATE_WRITE if writable else _MADV_POPULATE_READ)


def keep_at_hand(size: int) -> None:
    """Let C's heap keep memory of so many bytes, for results as large as those of this run.

    glibc gives the end of its heap back to the system if more is free there than twice the largest
    block that was mapped and freed before: 256 KiB at first, 64 MiB at most (mallopt(3),
    ``M_MMAP_THRESHOLD``). All results of a run together are often more, and each of their pages
    would be mapped anew in the next run, which takes five times as long as writing them. So a
    block of that size is freed; nothing touches it.
    """
    size = min(size, _MOST_KEPT)
    if size <= _kept[0]:
        return
    _kept[0] = size
    _libc.free(ctypes.c_void_p(_libc.malloc(ctypes.c_size_t(size))))


def give_back() -> None:
    """Give memory that C's heap has free back to the system, where that can be asked for.

    Messages of protobuf lie there, which Python's objects do not take the place of.
    """
    if _malloc_trim is not None:
        _malloc_trim(ctypes.c_size_t(0))


def _advise(array: np.ndarray, advice: int) -> None:
    """Give advice on the pages that an array fills or begins; a refusal changes nothing."""
    if _madvise is None or not array.size:
        return
    address = array.__array_interface__["data"][0]
    first = address // mmap.PAGESIZE * mmap.PAGESIZE
    length = address + array.nbytes - first
    _madvise(ctypes.c_void_p(first), ctypes.c_size_t(length), ctypes.c_int(advice))
