"""Arrays in the memory of a GPU that runs are given: those of torch, cupy, jax, numba, or ours.

They say where they lie by DLPack or by the CUDA array interface, and which stream writes them: what
runs queue waits for that. A run gets an array of the host in the place of each, whose memory
nothing touches unless a step of the CPU needs the contents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ....errors import InvalidArgument, reason
from .device_array import DeviceArray
from .dlpack import CUDA, HOST, Described, described
from .driver import Driver

_INTERFACE = "__cuda_array_interface__"


class Place(NamedTuple):
    """Where an array lies on the GPU, and what keeps its memory."""

    address: int
    owner: Any


def device_inputs(
    feeds: Mapping[str, Any], driver: Driver
) -> tuple[Mapping[str, Any], dict[int, Place]]:
    """Return what a run is given with arrays of the host only.

    Returns
    -------
    feeds : mapping
    places : dict of int to Place
        By the ``id`` of the array that stands for what lies on the GPU.

    Raises
    ------
    InvalidArgument
        An array is not dense, not aligned, larger than its memory, or of another GPU.
    """
    places: dict[int, Place] = {}
    if not isinstance(feeds, Mapping):
        return feeds, places
    replaced: dict[str, Any] = {}
    for name, value in feeds.items():
        found = None if type(value) is np.ndarray else given(f"input {name!r}", value, driver)
        if found is not None:
            replaced[name], place = found
            places[id(replaced[name])] = place
    return ({**feeds, **replaced} if replaced else feeds), places


def given(
    what: str, value: Any, driver: Driver, is_written: bool = False
) -> tuple[np.ndarray, Place] | None:
    """Return an array of the host for one of the GPU, and where that lies; None for other values.

    Raises
    ------
    InvalidArgument
        As above; or a run is to write it, and it is read-only.
    """
    if isinstance(value, DeviceArray):
        if value.device != driver.name:
            raise InvalidArgument(f"{what} lies on {value.device!r}, not on {driver.name!r}")
        return np.zeros(value.shape, value.dtype), Place(value.address, value)
    if hasattr(value, "__dlpack_device__"):
        kind, ordinal = map(int, value.__dlpack_device__())
        if kind == CUDA and ordinal:
            raise InvalidArgument(
                f"{what} lies on GPU {ordinal}, sessions run on the first one: copy it there first"
            )
        if kind == CUDA:
            return _by_dlpack(what, value, driver)
        if kind not in HOST and not hasattr(value, _INTERFACE):
            raise InvalidArgument(
                f"{what} lies on a device of DLPack's kind {kind}: copy it to {driver.title} or to "
                "the host first"
            )
    if hasattr(value, _INTERFACE):
        return _by_interface(what, value, driver, is_written)
    return None


def _by_dlpack(what: str, value: Any, driver: Driver) -> tuple[np.ndarray, Place]:
    try:
        capsule = value.__dlpack__(stream=driver.stream)
        found = described(capsule)
    except Exception as error:
        raise InvalidArgument(f"{what} cannot be read where it lies: {reason(error)}") from error
    return _checked(what, found, driver), Place(found.address, (value, capsule))


def _by_interface(
    what: str, value: Any, driver: Driver, is_written: bool
) -> tuple[np.ndarray, Place]:
    try:
        shown = getattr(value, _INTERFACE)
        address, is_read_only = int(shown["data"][0] or 0), bool(shown["data"][1])
        strides = shown.get("strides")
        shape, dtype = tuple(map(int, shown["shape"])), np.dtype(shown["typestr"])
        if min(shape, default=0) < 0:
            raise ValueError("a size is below zero")
        stream = shown.get("stream", None if shown.get("version", 0) >= 3 else -1)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise InvalidArgument(
            f"{what} says of itself what is no array on a GPU: {reason(error)}"
        ) from error
    except Exception as error:  # torch's, of a tensor with a gradient
        raise InvalidArgument(f"{what} cannot be read where it lies: {reason(error)}") from error
    if stream is not None and (not isinstance(stream, int) or stream == 0):
        raise InvalidArgument(f"{what} names {stream!r}, which is no stream of CUDA")
    if is_written and is_read_only:
        raise InvalidArgument(f"{what} is read-only, no run can write it")
    found = Described(address, shape, dtype, None if strides is None else tuple(strides))
    stands = _checked(what, found, driver)
    if stream is not None:  # None: there is nothing to wait for
        driver.wait_for(None if stream < 0 else stream)
    return stands, Place(address, value)


def _checked(what: str, found: Described, driver: Driver) -> np.ndarray:
    """Return an array of the host of the same shape; nothing has touched its memory."""
    address, shape, dtype, strides = found
    if not dtype.isnative:
        raise InvalidArgument(f"{what} has elements of another byte order: {dtype.str}")
    try:
        # Truth values are looked at, to be 0 or 1.
        stands = (np.zeros if dtype == np.bool_ else np.empty)(shape, dtype)
    except (ValueError, MemoryError) as error:
        raise InvalidArgument(f"{what} is too large: {shape} of {dtype.name}") from error
    if strides is not None and stands.size and not _is_dense(shape, strides, stands.strides):
        raise InvalidArgument(
            f"{what} lies on the GPU with strides {strides} in bytes, expected a dense array, of "
            f"{stands.strides}"
        )
    size = math.prod(shape) * dtype.itemsize
    if size and not driver.owns(address, size):
        raise InvalidArgument(
            f"{what}, {size} bytes at {address:#x}, lies in no memory of {driver.title}: "
            "copy it there first"
        )
    if size and address % dtype.itemsize:
        raise InvalidArgument(
            f"{what} lies at {address:#x}, which is no multiple of the {dtype.itemsize} bytes of "
            "an element"
        )
    return stands


def _is_dense(shape: tuple[int, ...], own: tuple[int, ...], dense: tuple[int, ...]) -> bool:
    """Compare strides, of which those of axes with one element mean nothing."""
    return all(n == 1 or a == b for n, a, b in zip(shape, own, dense, strict=True))
