"""DLPack: how libraries hand arrays to each other, as capsules with a C structure in them.

Only what arrays in the memory of a device need is here: numpy does the same for those of the host.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

CUDA = 2
"""Number of NVIDIA's GPUs among kinds of devices."""
HOST = (1, 3)
"""Numbers of memory of the host, plain and pinned."""

_KINDS: dict[int, dict[int, Any]] = {
    0: {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64},
    1: {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64},
    2: {16: np.float16, 32: np.float32, 64: np.float64},
    4: {16: ml_dtypes.bfloat16},
    6: {8: np.bool_},
    10: {8: ml_dtypes.float8_e4m3fn},
    11: {8: ml_dtypes.float8_e4m3fnuz},
    12: {8: ml_dtypes.float8_e5m2},
    13: {8: ml_dtypes.float8_e5m2fnuz},
}
"""Types of elements by DLPack's code and their bits."""
_CODES = {
    np.dtype(kind): (code, bits) for code, kinds in _KINDS.items() for bits, kind in kinds.items()
}


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", _Deleter), ("flags", ctypes.c_uint64), ("tensor", _Tensor),
    )  # fmt: skip


_NAME = b"dltensor"
_VERSIONED_NAME = b"dltensor_versioned"
_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
_api.PyCapsule_IsValid.argtypes = ctypes.py_object, ctypes.c_char_p
_api.PyCapsule_GetPointer.restype = ctypes.c_void_p
_api.PyCapsule_GetPointer.argtypes = ctypes.py_object, ctypes.c_char_p


class Described(NamedTuple):
    """An array as a capsule describes it; ``strides`` in bytes, None where it is dense."""

    address: int
    shape: tuple[int, ...]
    dtype: np.dtype
    strides: tuple[int, ...] | None


def described(capsule: Any) -> Described:
    """Read a capsule, which stays the caller's: what it describes lives as long.

    Raises
    ------
    ValueError
        It is of an unknown kind, or its elements are.
    """
    if _api.PyCapsule_IsValid(capsule, _NAME):
        address = _api.PyCapsule_GetPointer(capsule, _NAME)
        tensor = _Managed.from_address(address).tensor
    elif _api.PyCapsule_IsValid(capsule, _VERSIONED_NAME):
        address = _api.PyCapsule_GetPointer(capsule, _VERSIONED_NAME)
        tensor = _Versioned.from_address(address).tensor
    else:
        raise ValueError("what __dlpack__ gives is no capsule of DLPack")
    kind = _KINDS.get(tensor.code, {}).get(tensor.bits)
    if kind is None or tensor.lanes != 1:
        raise ValueError(
            f"elements of DLPack's code {tensor.code} with {tensor.bits} bits are not known"
        )
    dtype, rank = np.dtype(kind), tensor.ndim
    shape = tuple(tensor.shape[:rank])
    strides = tuple(s * dtype.itemsize for s in tensor.strides[:rank]) if tensor.strides else None
    return Described((tensor.data or 0) + tensor.byte_offset, shape, dtype, strides)


_exported: dict[int, tuple[Any, ...]] = {}
"""What is in use by others: by the address of its structure all that has to live as long."""


@_Deleter
def _forget(address: int) -> None:
    """Let go of an array that its user is done with."""
    _exported.pop(address, None)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _forget_unused(capsule: int) -> None:
    """Let go of an array whose capsule nobody has taken, which has its name still."""
    # The capsule is being destroyed: no object may be made of its address.
    name = ctypes.c_char_p(_NAME)
    if _is_valid(capsule, name):
        _forget(_pointer(capsule, name))


_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _api)
)
_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)


def capsule_of(
    address: int, shape: tuple[int, ...], dtype: np.dtype, device: tuple[int, int], owner: Any
) -> Any:
    """Return a capsule of a dense array that keeps its owner alive.

    Raises
    ------
    BufferError
        DLPack has no such type.
    """
    if dtype not in _CODES:
        raise BufferError(f"DLPack has no type {dtype.name}")
    rank = len(shape)
    sizes, steps = (ctypes.c_int64 * rank)(*shape), (ctypes.c_int64 * rank)()
    step = 1
    for axis in reversed(range(rank)):
        steps[axis] = step
        step *= max(shape[axis], 1)
    managed = _Managed()
    tensor = managed.tensor
    tensor.data, tensor.ndim, tensor.lanes = address or None, rank, 1
    tensor.device_type, tensor.device_id = device
    tensor.code, tensor.bits = _CODES[dtype]
    tensor.shape = ctypes.cast(sizes, ctypes.POINTER(ctypes.c_int64))
    tensor.strides = ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = _forget
    place = ctypes.addressof(managed)
    _exported[place] = managed, sizes, steps, owner
    return _api.PyCapsule_New(place, _NAME, ctypes.cast(_forget_unused, ctypes.c_void_p))
