"""Arrays in the memory of a GPU that runs are given: those of torch, cupy or numba.

They say where they lie by the CUDA array interface. A run gets an array of the host in the place of
each, whose memory nothing touches unless a step of the CPU needs the contents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ....errors import InvalidArgument
from .driver import Driver

_INTERFACE = "__cuda_array_interface__"


def device_inputs(
    feeds: Mapping[str, Any], driver: Driver
) -> tuple[Mapping[str, Any], dict[int, int]]:
    """Return what a run is given with arrays of the host only.

    Returns
    -------
    feeds : mapping
    places : dict of int to int
        Addresses on the GPU, by the ``id`` of the array that stands for what lies there.

    Raises
    ------
    InvalidArgument
        An array is not dense, not aligned, larger than its memory, or of another GPU.
    """
    places: dict[int, int] = {}
    if not isinstance(feeds, Mapping):
        return feeds, places
    own = {name: value for name, value in feeds.items() if hasattr(value, _INTERFACE)}
    if not own:
        return feeds, places
    driver.wait_for_others()
    replaced = dict(feeds)
    for name, value in own.items():
        stands, address = _stand_in(name, getattr(value, _INTERFACE), driver)
        replaced[name] = stands
        places[id(stands)] = address
    return replaced, places


def _stand_in(name: str, shown: Mapping[str, Any], driver: Driver) -> tuple[np.ndarray, int]:
    """Return an array of the host for one of the GPU, and where that lies."""
    try:
        shape, dtype = tuple(shown["shape"]), np.dtype(shown["typestr"])
        strides, address = shown.get("strides"), int(shown["data"][0] or 0)
        stands = np.empty(shape, dtype)
    except (KeyError, IndexError, TypeError, ValueError, MemoryError) as error:
        raise InvalidArgument(
            f"input {name!r} says of itself what is no array on a GPU: {dict(shown)}"
        ) from error
    if strides is not None and stands.size and tuple(strides) != stands.strides:
        raise InvalidArgument(
            f"input {name!r} lies on the GPU with strides {tuple(strides)} in bytes, expected a "
            f"dense array, of {stands.strides}"
        )
    size = math.prod(shape) * dtype.itemsize
    if size and not driver.owns(address, size):
        raise InvalidArgument(
            f"input {name!r}, {size} bytes at {address:#x}, lies in no memory of {driver.title}: "
            "copy it there first"
        )
    if size and address % dtype.itemsize:
        raise InvalidArgument(
            f"input {name!r} lies at {address:#x}, which is no multiple of the {dtype.itemsize} "
            "bytes of an element"
        )
    return stands, address
