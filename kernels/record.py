"""Argument records of kernels as arrays of 64-bit words."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np


def float_bits(value: float) -> int:
    """Word that holds a floating-point field."""
    return struct.unpack("<q", struct.pack("<d", float(value)))[0]


def address_of(array: np.ndarray) -> int:
    """Address of an array's data."""
    return int(array.__array_interface__["data"][0])


def make_record(
    fields: Sequence[str], floats: Collection[str] = (), /, **values: Any
) -> np.ndarray:
    """Build an argument record of one value for each field.

    Parameters
    ----------
    fields : sequence of str
        Names of the words, in order.
    floats : collection of str
        Fields that hold a float64.
    **values
        Numbers, and arrays, which become their address; the caller keeps them alive.

    Returns
    -------
    ndarray of int64

    Raises
    ------
    TypeError
        Values and fields have different names.
    """
    if values.keys() != set(fields):
        raise TypeError(f"fields of a record differ: {sorted(values.keys() ^ set(fields))}")

    def word(name: str) -> int:
        value = values[name]
        if name in floats:
            return float_bits(value)
        return address_of(value) if isinstance(value, np.ndarray) else int(value)

    return np.array([word(name) for name in fields], np.int64)
