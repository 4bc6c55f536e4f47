"""Numbers whose order as uint64 is that of elements of a type."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .functions import device_function
from .memory import BITS_OF, LONG_BITS_OF, SIZES

_U: Any = np.uint64


@functools.cache
def key_of(dtype: str) -> Any:
    """Return a function that gives the key of a number, in the lowest bits, as many as it has.

    NaN has the largest key there is, both zeros have the same.
    """
    bits = 8 * SIZES[dtype]
    sign, most = _U(1 << (bits - 1)), _U((1 << bits) - 1)

    @device_function("uint64")
    def of_float(value: Any) -> Any:
        if value != value:
            return most
        pattern = (
            _U(BITS_OF(value + np.float32(0))) if bits == 32 else _U(LONG_BITS_OF(value + 0.0))
        )
        return most - pattern if pattern >= sign else pattern + sign

    @device_function("uint64")
    def of_signed(value: Any) -> Any:
        return (_U(np.int64(value)) & most) ^ sign

    @device_function("uint64")
    def of_unsigned(value: Any) -> Any:
        return _U(value)

    return {"f": of_float, "i": of_signed, "u": of_unsigned}[dtype[0]]
